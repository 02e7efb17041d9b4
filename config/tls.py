"""TLS to Redis, as the parameters of a `rediss://` URL state it; without any, certificates are checked."""

from urllib.parse import parse_qsl

_VALUES: dict[str, tuple[str, ...]] = {
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_cert_reqs": ("required", "none"),
    "ssl_check_hostname": ("true", "false"),
}
"""Every parameter that the clients of ledger and broker both know, with its values; () means a path."""


def _stated(url: str) -> dict[str, str]:
    # Not by urlsplit, which may stumble over a password before it comes to the parameters.
    return {name: value for name, value in parse_qsl(url.partition("?")[2]) if name.startswith("ssl_")}


def unfit_tls(url: str) -> str | None:
    """What is wrong with the URL's TLS parameters, without repeating a value; None when nothing is."""
    stated = _stated(url)
    if stated and not url.startswith("rediss://"):
        return f"{', '.join(stated)}: TLS is spoken with rediss:// only; write rediss://"
    for name, value in stated.items():
        if name not in _VALUES:
            return f"{name} is not known; use {', '.join(_VALUES)}"
        if _VALUES[name] and value not in _VALUES[name]:
            return f"{name} must be {' or '.join(_VALUES[name])}"
    return None


def tls_options(url: str) -> dict[str, str | bool] | None:
    """The options for a client that does not read them from the URL by itself; None when the URL asks for no TLS."""
    if not url.startswith("rediss://"):
        return None
    stated = _stated(url)
    check_hostname = stated.pop("ssl_check_hostname", "true") == "true"
    return {"ssl_cert_reqs": "required", **stated, "ssl_check_hostname": check_hostname}


def unchecked_tls(url: str) -> bool:
    """Whether the URL switches off what TLS is for: the server may be anybody."""
    stated = _stated(url)
    return stated.get("ssl_cert_reqs") == "none" or stated.get("ssl_check_hostname") == "false"
