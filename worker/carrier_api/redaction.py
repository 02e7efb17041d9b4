"""Redacts the API key in responses, in every form in which it may be repeated."""

import base64
import html
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from worker.carrier_api.fields import HIDDEN

_HIDDEN = HIDDEN.encode()
_SHORTEST_CORE = 8
_ESCAPED = re.compile(rb"""\\(?:u00([0-9a-fA-F]{2})|(["\\/]))""")
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_MAX_LAYERS = 3


def redacted(body: bytes, key: str, ours: Sequence[str] = ()) -> bytes:
    """The body, in UTF-8, without the key: plain, in base64, or escaped as in JSON, URLs, HTML and XML.

    A body that contains it in another form becomes empty. `ours`: references that were sent, which stay.
    """
    if not key or not _holds(body, key):
        return body
    for reference in ours:
        if key in reference and (own := reference.encode()) in body:
            return own.join(redacted(part, key, ours) for part in body.split(own))
    for core in _encoded(key):
        body = body.replace(core, _HIDDEN)
    body = _in_any_form(key).sub(_HIDDEN, body)
    return b"" if _holds(body, key) else body


def redacted_text(words: str, key: str) -> str:
    """The same for a header or the text of an error."""
    return redacted(words.encode("utf-8", "replace"), key).decode() if words else words


def _holds(body: bytes, key: str) -> bool:
    """Searches the body; one with escapes is searched without them too."""
    if _is_in(body, forms := _forms(key)):
        return True
    for _ in range(_MAX_LAYERS):
        if b"\\" not in body and b"%" not in body and b"&" not in body:
            return False
        bare = _unescaped(body)
        if bare == body:
            return False
        if _is_in(bare, forms):
            return True
        body = bare
    return False


def _is_in(body: bytes, forms: tuple[bytes, ...]) -> bool:
    # Not `any`, which costs more than the searches.
    for form in forms:  # noqa: SIM110
        if form in body:
            return True
    return False


def _unescaped(body: bytes) -> bytes:
    """The body without one layer of escapes of each kind."""
    if b"\\" in body:
        body = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else found[2], body)
    if b"%" in body:
        body = unquote_to_bytes(body)
    return html.unescape(body.decode("utf-8", "replace")).encode("utf-8", "replace") if b"&" in body else body


@lru_cache(maxsize=1024)
def _forms(key: str) -> tuple[bytes, ...]:
    return key.encode(), *_encoded(key)


@lru_cache(maxsize=1024)
def _encoded(key: str) -> tuple[bytes, ...]:
    """The base64 of any text that contains the key: one core for each offset at which the key may start."""
    found: dict[bytes, None] = {}
    plain = key.encode()
    for before in range(3):
        packed = base64.b64encode(bytes(before) + plain)
        # Characters shared with neighbouring bytes are not the key's alone.
        whole = (before + len(plain)) // 3 * 4
        core = packed[-(-before * 8 // 6) : whole]
        if len(core) >= _SHORTEST_CORE:
            found |= {core: None, core.translate(bytes.maketrans(b"+/", b"-_")): None}
    return tuple(found)


@lru_cache(maxsize=1024)
def _in_any_form(key: str) -> re.Pattern[bytes]:
    """The key, each character plain or escaped in any way."""
    return re.compile(b"".join(map(_letter, key)))


def _letter(letter: str) -> bytes:
    code = ord(letter)
    forms = [
        re.escape(letter),
        re.escape(f"\\{letter}"),
        rf"\\u(?i:{code:04x})",
        *("".join(f"%(?i:{byte:02x})" for byte in letter.encode()),),
        rf"&\#0*{code};",
        rf"&\#[xX]0*(?i:{code:x});",
        *((f"&{_NAMED[letter]};",) if letter in _NAMED else ()),
    ]
    return f"(?:{'|'.join(forms)})".encode()
