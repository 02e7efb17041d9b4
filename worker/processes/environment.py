"""Reads and validates the settings with the libraries that use them, so that bad values fail at startup."""

from collections.abc import Callable, Iterator

from kombu.utils.url import url_to_parts

from config.settings import Settings, SettingsError, read, said_of
from config.tls import tls_file_problem
from worker.redis_client.store import why_unusable


def load() -> Settings:
    """Read the settings and validate each with the library that uses it; opens no connection.

    Raises SettingsError with one line per problem: variable, source, and what to do. Values are never included.
    """
    settings = read()
    if problems := [*_problems(settings)]:
        raise SettingsError("\n".join(said_of(name, text) for name, text in problems))
    return settings


def _problems(settings: Settings) -> Iterator[tuple[str, str]]:
    if why := why_unusable(settings) or tls_file_problem(settings.redis_url.get_secret_value()):
        yield "ALLOCATION_REDIS_URL", why
    elif why := _broker_problem(settings.broker):
        yield "ALLOCATION_BROKER_URL" if settings.broker_url else "ALLOCATION_REDIS_URL", why
    if settings.sentry_dsn and not _is_dsn(settings.sentry_dsn.get_secret_value()):
        yield "SENTRY_DSN", "is not a DSN; copy it from Sentry (project settings, Client Keys), or remove it"


def _broker_problem(url: str) -> str | None:
    if _fails(lambda: url_to_parts(url), ValueError):
        return "cannot be parsed by the broker client; write it as redis://user:password@host:6379/1"
    return tls_file_problem(url)


def _is_dsn(text: str) -> bool:
    # Imported only if Sentry is used: the package takes eight megabytes of memory.
    from sentry_sdk.utils import BadDsn, Dsn  # noqa: PLC0415

    return not _fails(lambda: Dsn(text), BadDsn, ValueError)


def _fails(attempt: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether `attempt` raises one of `errors`; their text is dropped, as it may contain the value."""
    try:
        attempt()
    except errors:
        return True
    return False
