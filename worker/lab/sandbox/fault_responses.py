"""The responses that faults send in place of the API's."""

from dataclasses import replace

from worker.lab.sandbox.fault import Body, Fault
from worker.lab.sandbox.http_types import ApiError, Reply, caused
from worker.lab.sandbox.state import RULE_CONFLICT

_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\r\n"

_GARBAGE: dict[Body, Reply] = {
    "html": Reply(status=200, body=_PAGE.format("Down for maintenance").encode(), content_type="text/html"),
    "shape": Reply(status=200, body=b'{"state": ["allocated"], "carrier": 7}'),
    "empty": Reply(status=200),
}
_UNAUTHORISED = ApiError(status=401, code="unauthorized", message="The API key is missing or not known.")
_FORBIDDEN = ApiError(status=403, code="forbidden", message="The API key does not permit this.")
_THROTTLED = ApiError(status=429, code="too_many_requests", message="Too many calls.")
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
"""The parent code of the cause that a fault names, by status."""


def damaged(fault: Fault) -> Reply | ApiError | None:
    """The response of the fault, with `Retry-After` if it is set; None if the fault sends none."""
    reply = _reply(fault)
    if reply is None or fault.retry_after_s is None:
        return reply
    return replace(reply, retry_after_s=fault.retry_after_s)


def _reply(fault: Fault) -> Reply | ApiError | None:
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


def _failure(status: int) -> Reply | ApiError:
    """A 502 is a gateway's HTML page and a 504 has no body at all, as gateways do."""
    match status:
        case 502:
            return _page(status, "html")
        case 503:
            return ApiError(status=status, code="service_unavailable", message="The service is not available.")
        case 504:
            return _page(status, "empty")
        case _:
            return ApiError(status=status, code="internal_server_error", message="Something went wrong.")


def _page(status: int, body: Body) -> Reply:
    """The response of a gateway in front of the API."""
    if body == "empty":
        return Reply(status=status, content_type="text/plain")
    title = f"{status} {_REASONS[status]}"
    if body == "text":
        return Reply(status=status, body=f"{title}\n".encode(), content_type="text/plain")
    return Reply(status=status, body=_PAGE.format(title).encode(), content_type="text/html")


def _refusal(fault: Fault) -> ApiError:
    """The refusal of a whole call; it does not name the shipment that caused it."""
    status = fault.status or 400
    parent = _PARENTS.get(status, "error")
    message = "The request cannot be carried out."
    if fault.code is None:
        return ApiError(status=status, code=parent, message=message)
    return caused(status, parent, fault.code, message)


def reason_to_reject(key: str, version: str | None, keys: frozenset[str]) -> ApiError | None:
    """Why a request with this key and version is rejected, or None."""
    if key == "forbidden-key":
        return _FORBIDDEN
    if key not in keys:
        return _UNAUTHORISED
    if version != "1.1":
        return caused(400, "validation_error", "invalid_version", "The API version header must say 1.1.")
    return None
