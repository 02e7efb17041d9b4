"""Merchant files: their types, how they are read, and what is wrong with one, said so that a person can mend it."""

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from config.strategies.catalogue import AnyStrategy, available
from config.strategies.strategy import V2, Flavour

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a merchant may be called: the file's stem, part of keys in Redis and of labels in Flower."""

MAX_FILE_BYTES = 256 * 1024


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeyFromEnv(_Table):
    """`{ env = "NAME" }`: the key is in an environment variable."""

    env: str = Field(min_length=1)


class KeyFromFile(_Table):
    """`{ file = "/path" }`: the key is the content of a file, read anew whenever it changes."""

    file: str = Field(min_length=1)


class Api(_Table):
    """`[api]`: where and how the merchant's allocation API is called."""

    flavour: Flavour
    base_url: str
    api_key: KeyFromEnv | KeyFromFile
    format: Literal["json", "xml"] = "json"
    bulk: bool = False
    timeout_s: float = Field(20, gt=0, le=300, strict=False)

    @model_validator(mode="after")
    def _fits(self) -> "Api":
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must be an absolute http(s) URL, such as https://api.sorted.com/pro")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("base_url must not carry a user, a query or a fragment")
        if self.format == "xml" and self.flavour == V2:
            raise ValueError('format = "xml" is spoken by consignments-v1 only; remove it')
        if self.bulk and self.flavour != V2:
            raise ValueError("bulk belongs to shipments-v2; consignments-v1 always uses the many endpoints; remove it")
        return self


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_range(value: object) -> object:
    return {"exactly": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


Bound = Annotated[Decimal, Field(strict=False, ge=0, allow_inf_nan=False)]
Words = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list), Field(min_length=1, strict=False)
]


class Range(_Table):
    """A number, or `{ over, under, at_least, at_most }`; all that are given must hold."""

    exactly: Bound | None = None
    over: Bound | None = None
    under: Bound | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Range":
        if not self.model_fields_set:
            raise ValueError("an empty range; give a number, or one of over, under, at_least, at_most")
        return self


Number = Annotated[Range, BeforeValidator(_as_range)]


class Conditions(_Table):
    """`when`: all that are given must hold; one on a fact the order does not state does not hold."""

    country: Words | None = None
    postcode_prefix: Words | None = None
    shipping_method: Words | None = None
    tags_any: Words | None = None
    tags_all: Words | None = None
    currency: Words | None = None
    weight_kg: Number | None = None
    value: Number | None = None
    shipments: Number | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Conditions":
        if not self.model_fields_set:
            raise ValueError("no condition; the case without any is [allocation]")
        return self


class Choice(_Table):
    """A strategy and the steps it falls back to."""

    strategy: AnyStrategy
    fallback: Annotated[tuple[AnyStrategy, ...], Field(strict=False, max_length=10)] = ()


class Rule(Choice):
    """`[[rules]]`: a choice for the orders that meet its conditions."""

    name: str = Field(min_length=1, max_length=100)
    when: Conditions


class Retry(_Table):
    """`[retry]`: how often and how long."""

    attempts: int = Field(8, ge=1, le=1000)
    deadline_hours: float = Field(48, gt=0, le=24 * 365, strict=False)


class Limits(_Table):
    """`[limits]`: over all workers; 0 means no limit."""

    in_flight: int = Field(0, ge=0)
    per_second: float = Field(0, ge=0, strict=False)


class MerchantFile(_Table):
    """A whole merchant file."""

    api: Api
    allocation: Choice
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    retry: Retry = Retry()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _fits(self) -> "MerchantFile":
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1 or name == "default":
                raise ValueError(f"two rules are called {name!r} (one without a match is 'default'); rename one")
        for where, strategy in self.strategies():
            if reason := strategy.unfit(self.api.flavour):
                raise ValueError(f"{where}: {reason}; {self.api.flavour} has: {', '.join(available(self.api.flavour))}")
        return self

    def strategies(self) -> Iterator[tuple[str, AnyStrategy]]:
        """Every strategy of the file, and where in it."""
        for where, choice in [("allocation", self.allocation), *((f"rule {r.name!r}", r) for r in self.rules)]:
            yield f"{where}.strategy", choice.strategy
            for index, step in enumerate(choice.fallback):
                yield f"{where}.fallback[{index}]", step


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong with a file, and what to do about it."""

    file: str
    key: str
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        """`acme.toml: api.base_url: ...`."""
        return f"{self.file}: {self.key}: {self.text}" if self.key else f"{self.file}: {self.text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Merchant:
    """A merchant whose file is good. `digest` changes when the file does."""

    name: str
    file: MerchantFile
    digest: str = field(repr=False)


def read(path: Path, http_hosts: frozenset[str] = frozenset()) -> Merchant | list[Problem]:
    """Read one merchant file; never raises for what the file says."""
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            return [Problem(file=path.name, key="", text=f"larger than {MAX_FILE_BYTES} bytes; is it a merchant file?")]
        table = tomllib.loads(raw.decode())
        file = MerchantFile.model_validate(table)
    except OSError as error:
        return [Problem(file=path.name, key="", text=f"cannot be read: {error.strerror}; check its permissions")]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return [Problem(file=path.name, key="", text=f"is not TOML: {error}")]
    except ValidationError as error:
        return [_problem(path.name, e) for e in error.errors(include_url=False, include_input=False)]
    problems = [*_name_problems(path), *_url_problems(path, file, http_hosts)]
    return problems or Merchant(name=path.stem, file=file, digest=hashlib.sha256(raw).hexdigest())


def _name_problems(path: Path) -> Iterator[Problem]:
    if not NAME.fullmatch(path.stem):
        yield Problem(file=path.name, key="", text="the name must be 1 to 64 letters, digits, '-' or '_'; rename it")


def _url_problems(path: Path, file: MerchantFile, http_hosts: frozenset[str]) -> Iterator[Problem]:
    parts = urlsplit(file.api.base_url)
    host = (parts.hostname or "").lower()
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    if parts.scheme == "http" and not loopback and host not in http_hosts:
        text = "sends the key without TLS; write https, or allow this host in ALLOCATION_ALLOW_HTTP_HOSTS"
        yield Problem(file=path.name, key="api.base_url", text=text)


_ADVICE = {
    "extra_forbidden": "unknown key; remove it or check its spelling",
    "missing": "is missing; add it",
}


def _problem(file: str, error: Any) -> Problem:  # pydantic's ErrorDetails, a TypedDict of its own
    key = ".".join(str(part) for part in error["loc"])
    text = _ADVICE.get(error["type"], error["msg"].removeprefix("Value error, "))
    return Problem(file=file, key=key, text=text)


def read_all(folder: Path, http_hosts: frozenset[str] = frozenset()) -> tuple[dict[str, Merchant], list[Problem]]:
    """Read every `*.toml` of a folder: the good merchants by name, and all problems of the others."""
    good: dict[str, Merchant] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.toml")):
        match read(path, http_hosts):
            case Merchant() as merchant:
                good[merchant.name] = merchant
            case wrong:
                problems.extend(wrong)
    return good, problems


def find_key(source: KeyFromEnv | KeyFromFile) -> str | None:
    """The merchant's API key, or None when it is not (or not usably) there. Never log what this returns."""
    match source:
        case KeyFromEnv(env=name):
            key = os.environ.get(name, "")
        case KeyFromFile(file=path):
            try:
                key = Path(path).read_text()
            except (OSError, UnicodeDecodeError):
                return None
    key = key.strip()
    return key if key and key.isascii() and key.isprintable() else None
