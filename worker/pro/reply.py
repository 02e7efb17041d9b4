"""What came back over the wire, before anybody knows what it means."""

import json
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_WAIT_S = 3600.0
"""A `Retry-After` beyond this is taken for a mistake: the breaker asks again after it."""

_GZIP = 16 + zlib.MAX_WBITS

_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One HTTP answer, whole, its body already decompressed and of bounded size; header values as sent."""

    status: int
    body: bytes
    retry_after: str | None = None
    content_type: str = ""


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body of an answer, unzipped where its `content-encoding` says so: as far as it came, and no more than that.

    Nothing but gzip is ever asked for; a body that is something else is left as it is, and cannot be read.
    """
    if encoding.lower() != "gzip":
        return body
    try:
        return zlib.decompressobj(wbits=_GZIP).decompress(body, most_bytes)
    except zlib.error:
        return b""


# Numbers stay the text they were: a price never goes through a float, "2.00" does not become 2.0,
# and JSON then looks like XML, where everything is text.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda _: None)


def read_json(body: bytes) -> Any:
    """The JSON value in the body, its numbers as text; None when the body holds none. Never raises."""
    try:
        return _JSON.decode(body.decode("utf-8", "replace").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """How long a `Retry-After` header asks to wait, in seconds, 0 to an hour; None when it says nothing readable."""
    if value is None:
        return None
    text = value.strip()
    wait_s = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)
    return None if wait_s is None else min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _seconds_until(http_date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
        # "-0000" parses as a naive time, which RFC 5322 means as UTC.
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
