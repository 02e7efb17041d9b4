"""What a fault answers in place of the API."""

from dataclasses import replace

from worker.lab.sandbox.fault import Body, Fault
from worker.lab.sandbox.http_types import Reply, Trouble, caused
from worker.lab.sandbox.state import RULE_CONFLICT

_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\r\n"

_GARBAGE: dict[Body, Reply] = {
    "html": Reply(status=200, body=_PAGE.format("Down for maintenance").encode(), content_type="text/html"),
    "shape": Reply(status=200, body=b'{"state": ["allocated"], "carrier": 7}'),
    "empty": Reply(status=200),
}
_UNAUTHORISED = Trouble(status=401, code="unauthorized", message="The API key is missing or not known.")
_FORBIDDEN = Trouble(status=403, code="forbidden", message="The API key does not permit this.")
_THROTTLED = Trouble(status=429, code="too_many_requests", message="Too many calls.")
_GONE = caused(410, "gone", "resource_removed", "The shipment was removed.")

_REASONS = {
    401: "Authorization Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Not Allowed",
    502: "Bad Gateway",
    521: "Web server is down",
}
_PARENTS = {400: "validation_error", 404: "not_found", 410: "gone", 429: "conflict", 521: "allocation_failed"}
"""The code above the cause that a fault names, by status."""


def damaged(fault: Fault) -> Reply | Trouble | None:
    """The answer that the fault gives, with `Retry-After` if it says so; None if it answers nothing of its own."""
    answer = _answer(fault)
    if answer is None or fault.retry_after_s is None:
        return answer
    return replace(answer, retry_after_s=fault.retry_after_s)


def _answer(fault: Fault) -> Reply | Trouble | None:
    match fault.fault:
        case "status":
            return _failure(fault.status or 500)
        case "foreign":
            return _page(fault.status or 404, fault.body)
        case "refused_whole":
            return _refusal(fault)
        case "throttled":
            return _THROTTLED
        case "conflict":
            return RULE_CONFLICT
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


def _failure(status: int) -> Reply | Trouble:
    """A 502 is a gateway's HTML page and a 504 has no body at all, as gateways do."""
    match status:
        case 502:
            return _page(status, "html")
        case 503:
            return Trouble(status=status, code="service_unavailable", message="The service is not available.")
        case 504:
            return _page(status, "empty")
        case _:
            return Trouble(status=status, code="internal_server_error", message="Something went wrong.")


def _page(status: int, body: Body) -> Reply:
    """The answer of a gateway, which knows nothing of the API behind it."""
    if body == "empty":
        return Reply(status=status, content_type="text/plain")
    title = f"{status} {_REASONS[status]}"
    if body == "text":
        return Reply(status=status, body=f"{title}\n".encode(), content_type="text/plain")
    return Reply(status=status, body=_PAGE.format(title).encode(), content_type="text/html")


def _refusal(fault: Fault) -> Trouble:
    """The refusal of a whole call; it does not say which shipment is to blame."""
    status = fault.status or 400
    parent = _PARENTS.get(status, "error")
    message = "The request cannot be carried out."
    if fault.code is None:
        return Trouble(status=status, code=parent, message=message)
    return caused(status, parent, fault.code, message)


def inadmissible(key: str, version: str | None, keys: frozenset[str]) -> Trouble | None:
    """Why a request with this key and version is turned away, or None."""
    if key == "forbidden-key":
        return _FORBIDDEN
    if key not in keys:
        return _UNAUTHORISED
    if version != "1.1":
        return caused(400, "validation_error", "invalid_version", "The API version header must say 1.1.")
    return None
