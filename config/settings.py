"""Settings of the whole application, read from the environment and a `.env` file."""

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel")
BROKER_SCHEMES = (*REDIS_SCHEMES, "amqp", "amqps")


class SettingsError(Exception):
    """The environment does not make sense; the text says which variable, why, and what to do."""


def _of_scheme(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    scheme = urlsplit(url.get_secret_value()).scheme
    if scheme not in schemes:
        raise ValueError(f"begins with {scheme or 'no scheme'!r}; write one of {', '.join(s + '://' for s in schemes)}")
    return url


def _loopback(address: str) -> bool:
    return address in ("localhost", "::1") or address.startswith("127.")


RedisUrl = Annotated[SecretStr, AfterValidator(lambda url: _of_scheme(url, REDIS_SCHEMES))]
BrokerUrl = Annotated[SecretStr, AfterValidator(lambda url: _of_scheme(url, BROKER_SCHEMES))]
StreamName = Annotated[str, Field(min_length=1, max_length=200)]


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

    @property
    def broker(self) -> str:
        """The broker's URL, with its password: for the client library only, never for a log."""
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return next_database(self.redis_url.get_secret_value())

    @property
    def flower_is_exposed(self) -> bool:
        """Whether Flower would be reachable from another machine."""
        return not _loopback(self.flower_address)

    @property
    def http_hosts(self) -> frozenset[str]:
        """Hosts beyond loopback that may be called without TLS."""
        return frozenset(host.strip().lower() for host in self.allow_http_hosts.split(",") if host.strip())


def next_database(url: str) -> str:
    """The same Redis server, one database further: `redis://host/0` gives `redis://host/1`."""
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    if not database.isdigit():
        raise SettingsError("ALLOCATION_BROKER_URL: cannot be derived from ALLOCATION_REDIS_URL; set it")
    return urlunsplit(parts._replace(path=f"/{int(database) + 1}"))


def place(url: str) -> str:
    """A URL without its user and password, for a log line."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def load() -> Settings:
    """Read the settings.

    Raises SettingsError with one line per problem. The offending value is never repeated, as it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_problem(e) for e in error.errors())) from None


def _problem(error: object) -> str:
    match error:
        case {"loc": (str(name), *_), "type": kind, "msg": text}:
            variable = name if name.isupper() else f"ALLOCATION_{name.upper()}"
            if kind == "missing":
                return f"{variable}: is not set; {_advice(name)}"
            return f"{variable}: {text}"
    return str(error)


def _advice(name: str) -> str:
    if name == "redis_url":
        return "name your server, such as redis://localhost:6379/0 (`allocation demo` brings its own)"
    return "set it"
