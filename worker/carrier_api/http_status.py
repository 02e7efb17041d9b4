"""What a bare HTTP status means, for both flavours: used when the body says nothing."""

from datetime import datetime
from http import HTTPStatus

from tasks.rules.outcome import Outcome, Stopped, Throttled, Unknown
from worker.carrier_api.fields import message, text
from worker.carrier_api.response import ApiResponse, retry_after_s

SERVER_ERRORS = range(500, 600)
# Not standard; despite their first digit no server errors.
ALLOCATION_FAILED = 521
NO_QUOTES = 531


def by_status(response: ApiResponse, now: datetime, body_text: str = "", correlation_id: str | None = None) -> Outcome:
    """The outcome of a status alone; `body_text` is the text of the body. Unclear statuses are unknown."""
    words = message(body_text or in_words(response))
    wait_s = retry_after_s(response.retry_after, now)
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            reason = "unauthorised" if response.status == HTTPStatus.UNAUTHORIZED else "forbidden"
            return Stopped(reason=reason, message=words, correlation_id=correlation_id, retry_after_s=wait_s)
        case HTTPStatus.GONE:
            return Stopped(reason="shipment_gone", message=words, correlation_id=correlation_id)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(reason="throttled", message=words, correlation_id=correlation_id, retry_after_s=wait_s)
        case status if status in SERVER_ERRORS:
            return Unknown(
                reason="server_error",
                message=words,
                correlation_id=correlation_id,
                retry_after_s=wait_s,
                by_api=response.form == "own",
            )
        case _:
            return Unknown(reason="unexpected_status", message=words, correlation_id=correlation_id)


def in_words(response: ApiResponse) -> str:
    """`HTTP 502 text/html`: distinguishes a proxy's page from a response of the API."""
    return f"HTTP {response.status} {text(response.content_type) or ''}".rstrip()
