"""Settings of the whole application, read from the environment and a `.env` file."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.tls import unfit_tls

REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel")
BROKER_SCHEMES = (*REDIS_BROKER_SCHEMES, "amqp", "amqps")


class SettingsError(Exception):
    """The environment does not make sense; the text says which variable, why, and what to do."""


class FormatError(Exception):
    """The ledger is in a format of another version; the text says what to do."""


def _of_scheme(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    # Not by urlsplit, whose own errors repeat what stands before the host: the password.
    scheme, separator, _ = url.get_secret_value().partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(f"must begin with one of {', '.join(s + '://' for s in schemes)}")
    if wrong := unfit_tls(url.get_secret_value()):
        raise ValueError(wrong)
    return url


def is_loopback(host: str) -> bool:
    """Whether a host's name or address cannot mean another machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


RedisUrl = Annotated[SecretStr, AfterValidator(lambda url: _of_scheme(url, REDIS_SCHEMES))]
BrokerUrl = Annotated[SecretStr, AfterValidator(lambda url: _of_scheme(url, BROKER_SCHEMES))]


def _printable(text: str) -> str:
    """A carriage return at the end, as of a file with Windows' line ends, would make another stream."""
    if not text.isprintable():
        raise ValueError("has a control character")
    return text


StreamName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]


class Settings(BaseSettings):
    """Every setting with its default; durations carry their unit in the name."""

    model_config = SettingsConfigDict(
        env_prefix="ALLOCATION_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    redis_url: RedisUrl = Field(description="Redis 6.2 or newer, or Valkey: streams, ledger, schedule")
    broker_url: BrokerUrl | None = Field(None, description="Celery's broker; by default the same server, next database")
    merchants_dir: Path = Field(Path("config/merchants"), description="one TOML file per merchant")
    orders_stream: StreamName = Field("orders.created", description="order-created events come in here")
    allocated_stream: StreamName = Field("shipments.allocated", description="allocated events go out here")
    failed_stream: StreamName = Field("shipments.allocation_failed", description="failed events go out here")
    rejected_stream: StreamName = Field("orders.rejected", description="events that could not be read")
    sweep_seconds: float = Field(5, gt=0, le=3600, description="how often beat sends the sweep")
    lease_seconds: float = Field(60, ge=2, le=3600, description="how long a claimed shipment may be silent")
    concurrency: int = Field(
        default_factory=lambda: 2 * (os.cpu_count() or 1), ge=1, le=512, description="worker processes"
    )
    batch: int = Field(100, ge=1, le=100, description="most shipments in one message")
    keep_days: float = Field(7, gt=0, le=3650, description="how long settled records and out streams are kept")
    trim_orders: bool = Field(default=False, description="whether the orders stream is trimmed behind its consumers")
    flower_address: str = Field("127.0.0.1", description="where Flower listens")
    flower_port: int = Field(5555, ge=1, le=65535)
    flower_basic_auth: SecretStr | None = Field(None, description="user:password; needed beyond loopback")
    allow_http_hosts: str = Field("", description="comma-separated hosts whose base_url may be plain http")
    sentry_dsn: SecretStr | None = Field(None, validation_alias="SENTRY_DSN")

    @model_validator(mode="after")
    def _has_a_broker(self) -> "Settings":
        if self.broker_url is None:
            next_database(self.redis_url.get_secret_value())
        return self

    @property
    def broker(self) -> str:
        """The broker's URL, with its password: for the client library only, never for a log."""
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return next_database(self.redis_url.get_secret_value())

    @property
    def flower_is_exposed(self) -> bool:
        """Whether Flower would be reachable from another machine."""
        return not is_loopback(self.flower_address)

    @property
    def http_hosts(self) -> frozenset[str]:
        """Hosts beyond loopback that may be called without TLS."""
        return frozenset(host.strip().lower() for host in self.allow_http_hosts.split(",") if host.strip())


def next_database(url: str) -> str:
    """The same Redis server, one database further: `redis://host/0` gives `redis://host/1`.

    Raises ValueError when the URL does not name a database by its number.
    """
    address, question_mark, options = url.partition("?")
    scheme, _, place_and_database = address.partition("://")
    server, _, path = place_and_database.partition("/")
    database = path.strip("/") or "0"
    if scheme == "unix" or not database.isdecimal():
        raise ValueError("ALLOCATION_BROKER_URL: cannot be derived from ALLOCATION_REDIS_URL; set it")
    return f"{scheme}://{server}/{int(database) + 1}{question_mark}{options}"


def place(url: str) -> str:
    """A URL without its user and password, for a log line."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def load() -> Settings:
    """Read the settings.

    Raises SettingsError with one line per problem. The offending value is never repeated, as it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_problem(e) for e in error.errors())) from None


def _problem(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return text
    name = str(error["loc"][0])
    variable = name if name.isupper() else f"ALLOCATION_{name.upper()}"
    return f"{variable}: {_NOT_SET if error['type'] == 'missing' else text}"


# Only the address of Redis has no default.
_NOT_SET = "is not set; name your server, such as redis://localhost:6379/0 (`allocation demo` brings its own)"
