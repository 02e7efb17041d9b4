"""URLs of Redis servers: what both clients, of the ledger and of the broker, read in the same way."""

from urllib.parse import SplitResult, urlsplit

from config.tls import parameters, tls_problem

BROKER_SCHEMES = ("redis", "rediss")
REDIS_SCHEMES = (*BROKER_SCHEMES, "unix")

_ESCAPE = (
    "cannot be read as a URL; in user and password write % as %25, # as %23, / as %2F, : as %3A, ? as %3F, "
    "@ as %40 and a space as %20"
)
_DATABASE = "must name its database by a number, such as redis://localhost:6379/0"
_NOT_KNOWN = "has a parameter that is not known; remove it"

_MAX_DATABASE_DIGITS = 5
"""More digits than any server's number of databases has are refused."""


def url_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    """What is wrong with a URL, without repeating a part of it, as that may be a password; None when nothing is."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        return f"must begin with {' or '.join(s + '://' for s in schemes)}"
    address, _, options = rest.partition("?")
    if "#" in url or "@" in options or any(letter.isspace() for letter in url):
        return _ESCAPE
    try:
        parts = urlsplit(f"{scheme}://{address}")
        port = parts.port
    except ValueError:
        return _ESCAPE
    if port == 0:
        return "must name a port from 1 to 65535"
    return _path_problem(parts) or _parameter_problem(url, scheme) or tls_problem(url)


def _path_problem(parts: SplitResult) -> str | None:
    if "@" in parts.path:
        return _ESCAPE
    if parts.scheme == "unix":
        is_path = not parts.netloc.rpartition("@")[2] and len(parts.path) > 1
        return None if is_path else "must name the socket by its whole path, such as unix:///run/redis.sock"
    return None if _database(parts.path) is not None else _DATABASE


def _database(path: str) -> int | None:
    number = path.strip("/") or "0"
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= _MAX_DATABASE_DIGITS else None


def _parameter_problem(url: str, scheme: str) -> str | None:
    """Besides those of TLS only the database of a socket's server, which has no other place."""
    others = [(name, value) for name, value in parameters(url) if not name.startswith("ssl_")]
    if scheme != "unix":
        return _DATABASE if others and others[0][0] == "db" else _NOT_KNOWN if others else None
    if all(name == "db" and _database(value) is not None for name, value in others) and len(others) <= 1:
        return None
    return f"{_NOT_KNOWN}, or write a database as ?db=0"


def next_database(url: str) -> str | None:
    """The same Redis server, one database further: `redis://host/0` gives `redis://host/1`; None for a socket's."""
    if url.startswith("unix://"):
        return None
    address, question_mark, options = url.partition("?")
    scheme, _, place_and_database = address.partition("://")
    server, _, path = place_and_database.partition("/")
    return f"{scheme}://{server}/{(_database(path) or 0) + 1}{question_mark}{options}"


def server_address(url: str) -> str:
    """A URL without its user and password, for a log line."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
