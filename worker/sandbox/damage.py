"""What a fault answers in place of the API."""

from worker.sandbox.faults import Fault
from worker.sandbox.wire import Reply, Trouble, caused

_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%s</h1></center></body></html>\r\n"
_BAD_GATEWAY = Reply(status=502, body=_PAGE % (502, b"Bad Gateway"), content_type="text/html")
_GATEWAY_TIMEOUT = Reply(status=504, content_type="text/plain")

_GARBAGE = {
    "html": Reply(status=200, body=_PAGE % (200, b"Down for maintenance"), content_type="text/html"),
    "shape": Reply(status=200, body=b'{"state": ["allocated"], "carrier": 7}'),
    "empty": Reply(status=200),
}
_CONFLICT = caused(429, "conflict", "rule_conflict", "Two allocation rules contradict each other.")
_UNAUTHORISED = Trouble(status=401, code="unauthorized", message="The API key is missing or not known.")
_FORBIDDEN = Trouble(status=403, code="forbidden", message="The API key does not permit this.")
_GONE = caused(410, "gone", "resource_removed", "The shipment was removed.")
_FAILURES = {
    500: Trouble(status=500, code="internal_server_error", message="Something went wrong."),
    503: Trouble(status=503, code="service_unavailable", message="The service is not available."),
}


def damaged(fault: Fault) -> Reply | Trouble | None:
    """The answer that the fault gives; None if it answers nothing of its own.

    A 502 is a gateway's HTML page and a 504 has no body at all, as gateways do.
    """
    match fault.fault:
        case "status":
            return {502: _BAD_GATEWAY, 504: _GATEWAY_TIMEOUT}.get(fault.status) or _FAILURES[fault.status]
        case "throttled":
            message = "Too many calls."
            return Trouble(status=429, code="too_many_requests", message=message, retry_after_s=fault.retry_after_s)
        case "conflict":
            return _CONFLICT
        case "unauthorised":
            return _UNAUTHORISED
        case "forbidden":
            return _FORBIDDEN
        case "gone":
            return _GONE
        case "garbage":
            return _GARBAGE[fault.body]
        case _:
            return None


def inadmissible(key: str, version: str | None, keys: frozenset[str]) -> Trouble | None:
    """Why a request with this key and version is turned away, or None."""
    if key == "forbidden-key":
        return _FORBIDDEN
    if key not in keys:
        return _UNAUTHORISED
    if version != "1.1":
        return caused(400, "validation_error", "invalid_version", "The API version header must say 1.1.")
    return None
