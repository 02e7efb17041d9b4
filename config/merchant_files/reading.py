"""Reading merchant files, with problems and advice for those that are invalid."""

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from config.merchant_files.merchant_file import NAME, Merchant, MerchantFile
from config.settings import is_loopback

MAX_FILE_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem of a file, and what to do about it."""

    file: str
    key: str
    text: str

    def __str__(self) -> str:
        """`acme.toml: api.base_url: ...`."""
        return f"{self.file}: {self.key}: {self.text}" if self.key else f"{self.file}: {self.text}"


def read_all(folder: Path, http_hosts: frozenset[str] = frozenset()) -> tuple[dict[str, Merchant], list[Problem]]:
    """Read every `*.toml` of a folder: the valid merchants by name, and the problems of the others."""
    good: dict[str, Merchant] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.toml")):
        match read(path, http_hosts):
            case Merchant() as merchant:
                good[merchant.name] = merchant
            case wrong:
                problems.extend(wrong)
    return good, problems


def read(path: Path, http_hosts: frozenset[str] = frozenset()) -> Merchant | list[Problem]:
    """Read one merchant file; never raises for its content."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return [Problem(file=path.name, key="", text=f"cannot be read: {error.strerror}; check its permissions")]
    return parse(path, raw, http_hosts)


def parse(path: Path, raw: bytes, http_hosts: frozenset[str] = frozenset()) -> Merchant | list[Problem]:
    """Parse the content of a merchant file; never raises for it. `path`: its name only."""
    if len(raw) > MAX_FILE_BYTES:
        return [Problem(file=path.name, key="", text=f"larger than {MAX_FILE_BYTES} bytes; is it a merchant file?")]
    try:
        file = MerchantFile.model_validate(tomllib.loads(raw.decode("utf-8-sig")))
    except ValidationError as error:
        return [_problem(path.name, e) for e in error.errors(include_url=False, include_input=False)]
    except (ValueError, RecursionError) as error:
        # In addition to its own errors, tomllib raises those of a number or a nesting that is too large for Python.
        return [Problem(file=path.name, key="", text=f"is not TOML: {error}; fix the syntax there")]
    problems = [*_name_problems(path), *_url_problems(path, file, http_hosts)]
    return problems or Merchant(name=path.stem, file=file, digest=hashlib.sha256(raw).hexdigest())


def _name_problems(path: Path) -> Iterator[Problem]:
    if not NAME.fullmatch(path.stem):
        yield Problem(file=path.name, key="", text="the name must be 1 to 64 letters, digits, '-' or '_'; rename it")


def _url_problems(path: Path, file: MerchantFile, http_hosts: frozenset[str]) -> Iterator[Problem]:
    parts = urlsplit(file.api.base_url)
    host = (parts.hostname or "").lower()
    if parts.scheme == "http" and not is_loopback(host) and host not in http_hosts:
        text = "sends the key without TLS; write https, or allow this host in ALLOCATION_ALLOW_HTTP_HOSTS"
        yield Problem(file=path.name, key="api.base_url", text=text)


_ADVICE = {
    "extra_forbidden": "unknown key; remove it or check its spelling",
    "missing": "is missing; add it",
    "model_type": "must be a table of keys",
    "too_short": "must not be empty; fill it or remove it",
    "tuple_type": "must be a list, in square brackets",
}


def _problem(file: str, error: Any) -> Problem:  # pydantic's ErrorDetails, a TypedDict of its own
    key = ".".join(str(part) for part in error["loc"])
    text = _ADVICE.get(error["type"], error["msg"].removeprefix("Value error, "))
    return Problem(file=file, key=key, text=text)
