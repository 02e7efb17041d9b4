"""TLS to Redis, from the parameters of a `rediss://` URL; by default certificates are checked."""

import ssl
from urllib.parse import parse_qsl

_VALUES: dict[str, tuple[str, ...]] = {
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_cert_reqs": ("required", "none"),
    "ssl_check_hostname": ("true", "false"),
}
"""Every parameter that the clients of ledger and broker both know, with its values; () means a path."""


def parameters(url: str) -> list[tuple[str, str]]:
    """The parameters of a URL, in their order."""
    # Not with urlsplit, which may fail on a password before it reaches them.
    return parse_qsl(url.partition("?")[2], keep_blank_values=True)


def _stated(url: str) -> dict[str, str]:
    return {name: value for name, value in parameters(url) if name.startswith("ssl_")}


def tls_problem(url: str) -> str | None:
    """What is wrong with the URL's TLS parameters, without repeating a part of it; None when nothing is."""
    stated, known = _stated(url), ", ".join(_VALUES)
    if stated and not url.startswith("rediss://"):
        return "has TLS parameters, which require rediss://; write rediss://"
    if not stated.keys() <= _VALUES.keys():
        return f"has a parameter of TLS that is not known; use {known}"
    if len(stated) < sum(name.startswith("ssl_") for name, _ in parameters(url)):
        return "has a parameter of TLS twice; remove one"
    for name, value in stated.items():
        if _VALUES[name] and value not in _VALUES[name]:
            return f"{name} must be {' or '.join(_VALUES[name])}"
    return None


def tls_file_problem(url: str) -> str | None:
    """Why the files that the parameters name cannot be used; None when they can, or there are none."""
    stated = _stated(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority := stated.get("ssl_ca_certs"):
            context.load_verify_locations(authority)
        if certificate := stated.get("ssl_certfile"):
            context.load_cert_chain(certificate, stated.get("ssl_keyfile") or None, _no_password)
    except (OSError, ValueError):
        return "ssl_ca_certs, ssl_certfile or ssl_keyfile: cannot be read as certificates and key; check the files"
    if stated.get("ssl_keyfile") and not stated.get("ssl_certfile"):
        return "ssl_keyfile: requires ssl_certfile; set both"
    return None


def _no_password() -> str:
    raise ValueError("a process cannot ask for a password")


def tls_options(url: str) -> dict[str, str | bool] | None:
    """The options for a client that does not read them from the URL by itself; None when the URL asks for no TLS."""
    if not url.startswith("rediss://"):
        return None
    stated = _stated(url)
    check_hostname = stated.pop("ssl_check_hostname", "true") == "true"
    return {"ssl_cert_reqs": "required", **stated, "ssl_check_hostname": check_hostname}


def unchecked_tls(url: str) -> bool:
    """Whether the URL switches off what TLS is for: any server is accepted."""
    stated = _stated(url)
    return stated.get("ssl_cert_reqs") == "none" or stated.get("ssl_check_hostname") == "false"
