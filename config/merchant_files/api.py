"""The `[api]` table of a merchant file: where and how the merchant's allocation API is called."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, field_validator

from config.strategies.strategy import V2, Flavour
from config.text import BYTE_ORDER_MARK

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
_SPACE = re.compile(r"\s")
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(/[^\s?#@]*)?$"
"""As far as a pattern can express what `_base_url` checks."""


class KeyFromEnv(BaseModel):
    """`{ env = "NAME" }`: the key is in an environment variable."""

    model_config = _STRICT

    env: str = Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")
    """The name of the environment variable with the key: upper-case letters, digits and underscores."""


class KeyFromFile(BaseModel):
    """`{ file = "/path" }`: the key is the content of a file, reloaded when it changes."""

    model_config = _STRICT

    file: str = Field(min_length=1)
    """The path of the file with the key; it is reloaded when it changes."""


def _key_source(value: object) -> KeyFromEnv | KeyFromFile:
    match value:
        case KeyFromEnv() | KeyFromFile():
            return value
        case {"env": _}:
            return KeyFromEnv.model_validate(value)
        case {"file": _}:
            return KeyFromFile.model_validate(value)
    raise ValueError('the key itself does not belong here; write { env = "NAME" } or { file = "/path" }')


KeySource = Annotated[
    KeyFromEnv | KeyFromFile, PlainValidator(_key_source, json_schema_input_type=KeyFromEnv | KeyFromFile)
]


def _base_url(url: str) -> str:
    if not _is_absolute(url):
        raise ValueError("must be an absolute http(s) URL, such as https://api.sorted.com/pro")
    if any(mark in url for mark in "@?#"):
        raise ValueError("must not carry a user, a query or a fragment; remove it")
    return url


def _is_absolute(url: str) -> bool:
    """Whether a call can be sent there; urlsplit validates a port only on access."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and not _SPACE.search(url)


class Api(BaseModel):
    """Where and how to call the API; the key itself is never part of it. `timeout_s`: the longest one call may take."""

    model_config = _STRICT

    flavour: Flavour
    """The generation of the API."""
    base_url: Annotated[str, AfterValidator(_base_url), Field(json_schema_extra={"pattern": _URL})]
    """The address of the API: https, without user, query and fragment. Plain http only for loopback and the hosts of
    ALLOCATION_ALLOW_HTTP_HOSTS.
    """
    api_key: KeySource
    """Where the key is; never the key itself."""
    format: Literal["json", "xml"] = "json"
    """The format of v1; v2 has only JSON."""
    bulk: bool = False
    """v2: whether the "many" endpoints are used for services and groups too."""
    timeout_s: float = Field(20, gt=0, le=300)
    """The longest one call may take, in seconds; at most 0.6 of ALLOCATION_LEASE_SECONDS."""

    @field_validator("format")
    @classmethod
    def _is_supported(cls, value: str, others: ValidationInfo) -> str:
        if value == "xml" and others.data.get("flavour") == V2:
            raise ValueError("xml is supported by consignments-v1 only; remove it")
        return value

    @field_validator("bulk")
    @classmethod
    def _is_known(cls, value: bool, others: ValidationInfo) -> bool:  # noqa: FBT001  # pydantic passes it so
        if value and others.data.get("flavour", V2) != V2:
            raise ValueError("belongs to shipments-v2, as consignments-v1 always sends bulk calls; remove it")
        return value


def find_key(source: KeyFromEnv | KeyFromFile) -> str | None:
    """The merchant's API key, or None if it is missing or unusable. Never log the result."""
    match source:
        case KeyFromEnv(env=name):
            key = os.environ.get(name, "")
        case KeyFromFile(file=path):
            try:
                key = Path(path).read_text(encoding="utf-8")
            except (OSError, ValueError):
                return None
    key = key.removeprefix(BYTE_ORDER_MARK).strip()
    return key if key and key.isascii() and key.isprintable() else None
