"""Decodes the body of a response: compression, charset, JSON."""

import codecs
import json
import re
import zlib
from email.message import Message
from functools import lru_cache
from typing import Any

_GZIP, _DEFLATE = frozenset({"gzip", "x-gzip"}), "deflate"
_MAX_CODINGS = 5
_BLANK = b"\xef\xbb\xbf \t\r\n"
_GZIP_BEGINS = b"\x1f\x8b"
_MAX_MEMBERS = 16
"""Members of one gzip body."""
_CHARSETS = {
    "ascii": "utf-8",
    "utf-8": "utf-8",
    "iso8859-1": "iso8859-1",
    "cp1252": "cp1252",
    # The bytes show which of its two kinds it is, or that it is not UTF-16, whatever the header says.
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,100}?\sencoding\s*=\s*["']([\w.-]{1,40})["']""", re.ASCII)


class UnreadableError(ValueError):
    """A body cannot be decompressed; the message says why."""


def unpacked(body: bytes, codings: str, most_bytes: int) -> bytes:
    """The body without its `content-encoding`: as far as it arrived, at most `most_bytes`.

    A plain body labelled as compressed is returned as it is; so is one with an unknown coding.

    Raises UnreadableError for a body that is corrupt or compressed too often.
    """
    names = [name.strip().lower() for name in codings.split(",")][::-1]
    if len(names) > _MAX_CODINGS:
        raise UnreadableError(f"content-encoding: {len(names)} codings")
    for name in names:
        if (name in _GZIP and body.startswith(_GZIP_BEGINS)) or (name == _DEFLATE and not _is_plain(body, most_bytes)):
            body = _inflated(body, name, most_bytes)
    return body


def _is_plain(body: bytes, most_bytes: int) -> bool:
    """Whether a body labelled `deflate` is plain: deflate has no magic number and may start like JSON."""
    if body.lstrip(_BLANK)[:1] not in b"{[<":
        return False
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        stream.decompress(body, most_bytes + 1)
    except zlib.error:
        return True
    return not stream.eof or bool(stream.unused_data)


def _inflated(body: bytes, name: str, most_bytes: int) -> bytes:
    is_gzip = name in _GZIP
    wbits = zlib.MAX_WBITS + 16 if is_gzip else zlib.MAX_WBITS
    if not is_gzip and body[0] & 0x0F != zlib.DEFLATED:
        wbits = -zlib.MAX_WBITS
    plain, rest = bytearray(), body
    for _ in range(_MAX_MEMBERS):
        stream = zlib.decompressobj(wbits)
        try:
            plain += stream.decompress(rest, most_bytes + 1 - len(plain))
        except zlib.error as error:
            raise UnreadableError(f"{name}: {error}") from error
        if len(plain) > most_bytes:
            raise UnreadableError(f"{name}: more than {most_bytes} bytes")
        rest = stream.unused_data
        # Bytes after the last member are ignored.
        if not is_gzip or not rest.startswith(_GZIP_BEGINS):
            return bytes(plain)
    raise UnreadableError(f"{name}: more than {_MAX_MEMBERS} members")


def as_utf8(body: bytes, content_type: str) -> bytes:
    """The body in UTF-8, from the charset of its bytes, header or XML declaration."""
    named = _named_charset(content_type) if "=" in content_type else ""
    if body[:1] == b"{" and body[1:2] != b"\0" and named in ("", "utf-8"):  # nearly always
        return body
    if wide := _utf_16(body):
        return body.decode(wide, "replace").encode()
    declared = match[1].decode() if (match := _DECLARED.match(body)) else ""
    charsets = [name for name in (named, _known_charset(declared), "utf-8") if name]
    for charset in charsets:
        try:
            return body.decode(charset).encode()
        except ValueError:
            continue
    return body.decode(charsets[0], "replace").encode()


def _utf_16(body: bytes) -> str:
    """The kind of UTF-16, by byte order mark or by the first character, which is ASCII."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(body) > 1 and bool(body[0]) != bool(body[1]):
        return "utf-16-le" if body[0] else "utf-16-be"
    return ""


@lru_cache(maxsize=64)
def _named_charset(content_type: str) -> str:
    header = Message()
    try:
        header["content-type"] = content_type
        return _known_charset(str(header.get_content_charset("")))
    except (ValueError, LookupError):
        return ""


def _known_charset(name: str) -> str:
    """The codec of a charset, empty for an unsupported one."""
    try:
        return _CHARSETS.get(codecs.lookup(name).name, "") if name else ""
    except (LookupError, ValueError):
        return ""


class Number(str):
    """A JSON number with a fraction or an exponent, as its own text: its point is a decimal point."""

    __slots__ = ()


# Numbers keep their text: a price never goes through a float, "2.00" does not become 2.0,
# and JSON then looks like XML, where everything is text.
_JSON = json.JSONDecoder(parse_float=Number, parse_int=str, parse_constant=lambda _: None)


def parse_json(body: bytes) -> Any:
    """The JSON value of the body, with numbers as text; None if it is invalid. Never raises."""
    try:
        return _decoded(body)
    except (ValueError, RecursionError):
        return None


def why_no_json(body: bytes) -> str:
    """The JSON parser's error for a body; empty if it is valid."""
    try:
        _decoded(body)
    except (ValueError, RecursionError) as error:
        return f"JSON: {error}"
    return ""


def _decoded(body: bytes) -> Any:
    return _JSON.decode(body.decode("utf-8", "replace").removeprefix("\ufeff"))
