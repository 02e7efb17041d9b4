"""Settings of the whole application, read from the environment and a `.env` file."""

import ipaddress
import os
import unicodedata
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.cpu_limit import usable_cores
from config.setting_types import Address, BrokerUrl, HostNames, Logins, LogLevel, RedisUrl, StreamName
from config.urls import next_database

DOTENV = ".env"
ENCODING = "utf-8-sig"


class SettingsError(Exception):
    """Invalid settings; the message names each variable, the problem and the remedy."""


class FormatError(Exception):
    """The ledger has the format of another version; the message says what to do."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Settings(BaseSettings):
    """Every setting with its default; durations carry their unit in the name."""

    model_config = SettingsConfigDict(
        env_prefix="ALLOCATION_",
        env_file=DOTENV,
        env_file_encoding=ENCODING,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    redis_url: RedisUrl = Field(description="Redis 6.2 or newer, or Valkey: streams, ledger, schedule")
    broker_url: BrokerUrl | None = Field(None, description="Celery's broker; by default the same server, next database")
    merchants_dir: Path = Field(Path("config/merchants"), description="one TOML file per merchant")
    orders_stream: StreamName = Field("orders.created", description="order-created events are read from here")
    allocated_stream: StreamName = Field("shipments.allocated", description="allocated events are published here")
    failed_stream: StreamName = Field("shipments.allocation_failed", description="failed events are published here")
    rejected_stream: StreamName = Field("orders.rejected", description="rejected events are published here")
    sweep_seconds: float = Field(5, gt=0, le=3600, description="how often beat sends the sweep")
    lease_seconds: float = Field(60, ge=2, le=3600, description="how long a lease lasts without renewal")
    concurrency: int = Field(
        default_factory=lambda: 2 * usable_cores(), ge=1, le=512, description="worker processes; by default 2 a core"
    )
    batch: int = Field(100, ge=1, le=100, description="maximum number of shipments of a merchant in one claim or call")
    keep_days: float = Field(7, gt=0, le=3650, description="how long settled records and published events are kept")
    trim_orders: bool = Field(default=True, description="whether the orders stream is trimmed like the output streams")
    log_level: LogLevel = Field("info", description="the lowest level that all processes log")
    flower_address: Address = Field("127.0.0.1", description="where Flower listens")
    flower_port: int = Field(5555, ge=1, le=65535)
    flower_basic_auth: Logins | None = Field(None, description="user:password; needed beyond loopback")
    flower_actions: bool = Field(
        default=False, description="whether the operator's pages may change anything; needs a login"
    )
    allow_http_hosts: HostNames = Field("", description="comma-separated hosts whose base_url may be plain http")
    sentry_dsn: SecretStr | None = Field(None, validation_alias="SENTRY_DSN")

    @field_validator("*", mode="before")
    @classmethod
    def _cleaned(cls, value: Any, info: ValidationInfo) -> Any:  # the type depends on the setting
        """Strips white space, including the carriage return of a file with Windows line ends."""
        if not isinstance(value, str):
            return value
        text, setting = value.strip(), cls.model_fields[str(info.field_name)]
        if any(unicodedata.category(letter) in _UNPRINTABLE for letter in text):
            raise ValueError("contains a control character; type it again")
        if text:
            return text
        if setting.is_required():
            raise PydanticCustomError("missing", "is not set")
        return setting.get_default(call_default_factory=True, validated_data={})

    @model_validator(mode="after")
    def _has_a_broker(self) -> "Settings":
        if self.broker_url is None and next_database(self.redis_url.get_secret_value()) is None:
            raise ValueError("ALLOCATION_BROKER_URL: cannot be derived from ALLOCATION_REDIS_URL; set it")
        return self

    @model_validator(mode="after")
    def _is_not_shown_to_everybody(self) -> "Settings":
        if self.flower_is_exposed and self.flower_basic_auth is None:
            raise ValueError(
                "ALLOCATION_FLOWER_ADDRESS: can be reached from other machines; "
                "set ALLOCATION_FLOWER_BASIC_AUTH=user:password, or use 127.0.0.1"
            )
        if self.flower_actions and self.flower_basic_auth is None:
            raise ValueError(
                "ALLOCATION_FLOWER_ACTIONS: needs a login, for the audit log; "
                "set ALLOCATION_FLOWER_BASIC_AUTH=user:password, or remove it"
            )
        return self

    @property
    def broker(self) -> str:
        """The broker's URL, with its password: for the client library, never for a log."""
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return next_database(self.redis_url.get_secret_value()) or ""

    @property
    def flower_is_exposed(self) -> bool:
        """Whether Flower would be reachable from another machine."""
        return not is_loopback(self.flower_address)

    @property
    def http_hosts(self) -> frozenset[str]:
        """Hosts besides loopback that may be called without TLS."""
        return frozenset(host.strip().lower() for host in self.allow_http_hosts.split(",") if host.strip())

    def kept_since(self, now_ms: int) -> int:
        """Since when settled records and events are kept. Both times in milliseconds since the epoch."""
        return max(0, now_ms - round(self.keep_days * 86_400_000))


# Control characters, surrogates (invalid UTF-8), and line and paragraph separators.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def read() -> Settings:
    """Read the settings. Whether the parts that use them accept them is checked by `worker.processes.environment`.

    Raises SettingsError with one line per problem. The offending value is never repeated, as it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_problem(e) for e in error.errors())) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{DOTENV}: is not UTF-8 from byte {error.start} on; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{DOTENV}: cannot be read: {error.strerror}; check its permissions") from None


def _problem(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return text
    name = variable(str(error["loc"][0]))
    return f"{name}: {_NOT_SET}" if error["type"] == "missing" else said_of(name, text)


def variable(setting: str) -> str:
    """The variable of a setting."""
    return setting if setting.isupper() else f"ALLOCATION_{setting.upper()}"


def said_of(name: str, text: str) -> str:
    """One line about a variable: its name, where it is set, the problem and the remedy."""
    place = "the environment" if any(n.upper() == name and value for n, value in os.environ.items()) else DOTENV
    return f"{name}: in {place}: {text}"


# Only the address of Redis has no default.
_NOT_SET = "is not set; name your server, such as redis://localhost:6379/0 (`allocation demo` brings its own)"
