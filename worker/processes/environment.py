"""The settings as the parts that use them accept them; whatever one would refuse later is said at once."""

from collections.abc import Callable, Iterator

from kombu.utils.url import url_to_parts

from config.settings import Settings, SettingsError, read, said_of
from config.tls import tls_file_problem
from worker.redis_client.store import why_unusable


def load() -> Settings:
    """Read the settings, and hand each to the part that will use it; nothing is connected to.

    Raises SettingsError with one line per problem: variable, place, and what to do. No part of a value is repeated.
    """
    settings = read()
    if wrong := [*_refused(settings)]:
        raise SettingsError("\n".join(said_of(name, text) for name, text in wrong))
    return settings


def _refused(settings: Settings) -> Iterator[tuple[str, str]]:
    if why := why_unusable(settings) or tls_file_problem(settings.redis_url.get_secret_value()):
        yield "ALLOCATION_REDIS_URL", why
    elif why := _of_broker(settings.broker):
        yield "ALLOCATION_BROKER_URL" if settings.broker_url else "ALLOCATION_REDIS_URL", why
    if settings.sentry_dsn and not _is_dsn(settings.sentry_dsn.get_secret_value()):
        yield "SENTRY_DSN", "is no DSN; copy it from Sentry, project settings, Client Keys, or remove it"


def _of_broker(url: str) -> str | None:
    if _fails(lambda: url_to_parts(url), ValueError):
        return "cannot be used by the broker's client; write it as redis://user:password@host:6379/1"
    return tls_file_problem(url)


def _is_dsn(text: str) -> bool:
    # Where Sentry is off its package is not imported: eight megabytes.
    from sentry_sdk.utils import BadDsn, Dsn  # noqa: PLC0415

    return not _fails(lambda: Dsn(text), BadDsn, ValueError)


def _fails(attempt: Callable[[], object], *errors: type[Exception]) -> bool:
    """The error itself is not looked at: it may repeat what it was given."""
    try:
        attempt()
    except errors:
        return True
    return False
