"""The body of an answer as values, before anybody knows what it means."""

import json
import zlib
from typing import Any

_GZIP = 16 + zlib.MAX_WBITS


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


class Number(str):
    """A JSON number with a fraction or an exponent, in its own digits: its point is a decimal point."""

    __slots__ = ()


# Numbers stay the text they were: a price never goes through a float, "2.00" does not become 2.0,
# and JSON then looks like XML, where everything is text.
_JSON = json.JSONDecoder(parse_float=Number, parse_int=str, parse_constant=lambda _: None)


def read_json(body: bytes) -> Any:
    """The JSON value in the body, its numbers as text; None when the body holds none. Never raises."""
    try:
        return _JSON.decode(body.decode("utf-8", "replace").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
