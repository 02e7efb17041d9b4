"""v1's responses to an allocation call: an Allocation Summary or a list of them, in three forms."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from tasks.rules.outcome import Allocated, Carrier, Outcome, Refused, Throttled, Unknown
from worker.carrier_api import carrier_price
from worker.carrier_api.bulk_refusal import for_each
from worker.carrier_api.fields import message, small_number, table, tables, text
from worker.carrier_api.http_status import SERVER_ERRORS, by_status, in_words
from worker.carrier_api.labels import labels, last_segments
from worker.carrier_api.matching import MISSING, QUEUED, UNREADABLE, is_accepted, match_outcomes
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.v1.legs import in_order, tracking

_ANSWERED = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS})
# v1 documents no cause for these: they may also mean that the consignment is already allocated.
_NO_CAUSE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_SUCCESS = range(200, 300)
_CONSIGNMENT_LINKS = frozenset({"detail", "link"})


def parse_summaries(references: Sequence[str], response: ApiResponse, now: datetime) -> dict[str, Outcome]:
    """The outcome for each consignment of an allocation call; of a failed call a part may have been allocated."""
    content = response.content
    if response.status not in _ANSWERED:
        outcome = error_outcome(response, now)
        return dict.fromkeys(references, outcome if len(references) == 1 else for_each(outcome, partly=True))
    if response.form == "empty" or not isinstance(content, list | dict):
        return dict.fromkeys(references, QUEUED if is_accepted(response) else UNREADABLE)
    requested = frozenset(references)
    summaries = tables(content if isinstance(content, list) else [content])
    statements = [(_consignment(summary, requested), _outcome(summary, response)) for summary in summaries]
    if len(references) > 1 and len(statements) == 1 and statements[0][0] is None:
        # One statement for all: a success proves nothing for each shipment, a failure is that of the whole call.
        outcome = statements[0][1]
        return dict.fromkeys(references, for_each(outcome, partly=True) if _is_refusal(outcome) else MISSING)
    return match_outcomes(references, statements)


def _is_refusal(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused)


def error_outcome(response: ApiResponse, now: datetime) -> Outcome:
    """The outcome of an error for an allocation; v1 documents no codes, so the status decides."""
    words = _words(table(response.content)) or in_words(response)
    if response.status in _NO_CAUSE:
        return Refused(reason="refused", message=words, certain=False)
    return by_status(response, now, words)


def _words(summary: dict[str, Any]) -> str:
    """The message of a summary, in any of its forms."""
    # In lower case it is the message of the gateway in front.
    return message(text(summary.get("Message")) or text(summary.get("Description")) or text(summary.get("message")))


def _consignment(summary: dict[str, Any], requested: frozenset[str]) -> str | None:
    """The consignment of a summary: `Data`, or the end of the link to it. Never guessed from its text."""
    data = text(summary.get("Data"))
    if data in requested:
        return data
    for link in tables(summary.get("ApiLinks")):
        if str(link.get("Rel")).lower() in _CONSIGNMENT_LINKS and (href := text(link.get("Href"))):
            return unquote(last_segments(href)[0]) or data
    return data


def _outcome(summary: dict[str, Any], response: ApiResponse) -> Outcome:
    """Each summary succeeds or fails by itself."""
    match _own_status(summary, response.status):
        case None:
            return QUEUED if is_accepted(response) else UNREADABLE
        case HTTPStatus.ACCEPTED:
            return QUEUED
        case status if status in _SUCCESS:
            return _allocated(summary)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(reason="throttled", message=_words(summary))
        case status if status in SERVER_ERRORS:
            return Unknown(reason="server_error", message=_words(summary))
        case _:
            return Refused(reason="refused", message=_words(summary), certain=False)


def _own_status(summary: dict[str, Any], http_status: int) -> int | None:
    """The status of a summary: its `StatusCode` or `IsSuccess`; a failure takes precedence.

    A success without a `StatusCode` has the status of the response: with 202 the consignment was queued.
    """
    success = summary.get("IsSuccess")
    status = small_number(summary.get("StatusCode"))
    if success in (False, "false") and (status is None or status in _SUCCESS):
        return HTTPStatus.BAD_REQUEST
    if status is None and success in (True, "true"):
        return HTTPStatus.ACCEPTED if http_status == HTTPStatus.ACCEPTED else HTTPStatus.OK
    return status


def _allocated(summary: dict[str, Any]) -> Allocated:
    legs = in_order(summary.get("ConsignmentLegs"))
    links = ((link.get("Href"), link.get("Rel"), None) for link in tables(summary.get("ApiLinks")))
    return Allocated(
        carrier=_carrier(summary) or (_carrier(legs[0]) if legs else None),
        tracking_references=tracking(legs),
        labels=labels(links),
    )


def _carrier(named: dict[str, Any]) -> Carrier | None:
    return carrier_price.carrier(
        named.get("CarrierReference"),
        named.get("CarrierName"),
        named.get("CarrierServiceReference"),
        named.get("CarrierServiceName"),
    )
