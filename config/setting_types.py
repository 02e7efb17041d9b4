"""Types of settings: what each accepts, and the remedy for what it does not."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr, StringConstraints

from config.urls import BROKER_SCHEMES, REDIS_SCHEMES, url_problem


def _usable_url(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    if wrong := url_problem(url.get_secret_value(), schemes):
        raise ValueError(wrong)
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(lambda url: _usable_url(url, REDIS_SCHEMES))]
BrokerUrl = Annotated[SecretStr, AfterValidator(lambda url: _usable_url(url, BROKER_SCHEMES))]


StreamName = Annotated[str, StringConstraints(max_length=200)]


def _host_names(text: str) -> str:
    for host in text.split(","):
        if any(letter in host.strip() for letter in "/@ "):
            raise ValueError("must be names of hosts with commas between, without https:// and without a path")
    return text


HostNames = Annotated[str, AfterValidator(_host_names)]


def _logins(auth: SecretStr) -> SecretStr:
    """Flower splits at commas and treats each part as a login: half a password would be one."""
    people = [login.partition(":") for login in auth.get_secret_value().split(",")]
    if not all(user and password for user, _, password in people):
        raise ValueError("must be user:password, or several with commas between; choose a password without a comma")
    # Flower compares ASCII only.
    if not auth.get_secret_value().isascii():
        raise ValueError("must be ASCII; choose a name and a password without other letters")
    return auth


Logins = Annotated[SecretStr, AfterValidator(_logins)]


def _address(text: str) -> str:
    """An address, or a name as far as it can be checked without resolving it."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not all(letter.isalnum() or letter in "-." for letter in text):
            raise ValueError("must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all") from None
    return text


Address = Annotated[str, AfterValidator(_address)]
LogLevel = Literal["debug", "info", "warning", "error"]
