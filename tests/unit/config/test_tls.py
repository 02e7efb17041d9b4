"""TLS options in Redis URLs."""

import pytest
from pydantic import SecretStr

from config.celery_options import celery_options
from config.settings import Settings, SettingsError
from config.tls import tls_options, unchecked_tls
from worker.processes.environment import load


def test_certificates_are_checked_by_default() -> None:
    """Certificate and name are checked by default, also by the broker's client, whose own default is no check."""
    settings = Settings(_env_file=None, redis_url=SecretStr("rediss://:pw@redis.test/0"))
    checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert celery_options(settings)["broker_use_ssl"] == checked
    assert tls_options("redis://redis.test/0") is None


def test_the_broker_gets_the_same_parameters() -> None:
    """The derived URL of the broker keeps the TLS parameters."""
    settings = Settings(_env_file=None, redis_url=SecretStr("rediss://redis.test/0?ssl_ca_certs=/ca.pem"))
    assert settings.broker == "rediss://redis.test/1?ssl_ca_certs=/ca.pem"
    assert celery_options(settings)["broker_use_ssl"]["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("rediss://:geheim@r/0?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs must be required or none"),
        ("rediss://:geheim@r/0?ssl_check_hostname=0", "ssl_check_hostname must be true or false"),
        ("rediss://:geheim@r/0?ssl_ca_cert=/ca.pem", "is not known; use ssl_ca_certs"),
        ("rediss://:geheim@r/0?ssl_cert_reqs=none&ssl_cert_reqs=required", "twice; remove one"),
        ("rediss://:geheim@r/0?ssl_ca_certs=/nowhere/ca.pem", "cannot be read as certificates"),
        (f"rediss://:geheim@r/0?ssl_ca_certs={__file__}", "cannot be read as certificates"),
        (f"rediss://:geheim@r/0?ssl_certfile={__file__}", "cannot be read as certificates"),
        ("rediss://:geheim@r/0?ssl_keyfile=/nowhere/key.pem", "requires ssl_certfile"),
        ("redis://:geheim@r/0?ssl_ca_certs=/ca.pem", "write rediss://"),
    ],
)
@pytest.mark.parametrize("variable", ["ALLOCATION_REDIS_URL", "ALLOCATION_BROKER_URL"])
def test_an_ignored_parameter_is_refused(
    url: str, problem: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters that a client ignores, or interprets differently, prevent the start; the password is not shown."""
    monkeypatch.setenv("ALLOCATION_REDIS_URL", "redis://r/0")
    monkeypatch.setenv(variable, url)
    with pytest.raises(SettingsError, match=f"{variable}: .*{problem}") as raised:
        load()
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("parameter", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_disabled_checks_are_detected(parameter: str) -> None:
    """Both ways to skip the verification of a server count as unchecked."""
    assert unchecked_tls(f"rediss://r/0?ssl_ca_certs=/ca.pem&{parameter}")
    assert not unchecked_tls("rediss://r/0?ssl_ca_certs=/ca.pem")
