"""v2's errors: the child code first, then the parent, then the status (vendor page "Shipments Error Codes")."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from config.strategies.strategy import V2, Strategy
from tasks.rules.outcome import BulkRefused, NotYet, Outcome, Refused, Stopped, StopReason, Unknown
from worker.carrier_api.bulk_refusal import for_each
from worker.carrier_api.fields import message, named, slug, table, tables, text, token
from worker.carrier_api.http_status import ALLOCATION_FAILED, NO_QUOTES, by_status, in_words
from worker.carrier_api.response import ApiResponse

# These concern the reference of the step: it is invalid for every shipment.
_OF_THE_STEP = frozenset(
    {
        "non_unique_reference",
        "virtual_service_not_found",
        "invalid_virtual_service",
        "carrier_service_not_found",
        "invalid_carrier_service",
        "service_group_not_found",
        "invalid_service_group",
        "carrier_service_group_not_found",
        "invalid_carrier_service_group",
    }
)
_REFUSED = _OF_THE_STEP | {"allocation_failed", "carrier_service_shipment_mismatch", "no_quotes_available"}
_CONFLICT = frozenset({"conflict", "rule_conflict"})
_INVALID_STATE = frozenset({"invalid_state_for_operation", "shipment_invalid_state"})
_PROCESSING = "processing"
_STOPPED: dict[str, StopReason] = {
    "shipment_not_found": "shipment_not_found",
    "resource_removed": "shipment_gone",
    "resource_quarantined": "shipment_gone",
}

_NAMES_A_REFERENCE = frozenset({"virtual_service", "carrier_service", "service_group"})
_NO_SUCH_QUOTE = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NO_CARRIER = {ALLOCATION_FAILED: "allocation_failed", NO_QUOTES: "no_quotes_available"}
_POSITION = re.compile(r"(?:\$\.)?shipments\[(\d{1,3})\]", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The cause in a response. `codes` has the children first, then their parents."""

    codes: tuple[str, ...]
    message: str
    correlation_id: str | None


def cause_of(body: dict[str, Any]) -> Cause:
    """The cause in an error, in an entry of `rejected`, or in a result whose `details` are errors themselves."""
    details = tables(body.get("details"))
    grandchildren = [child for detail in details for child in tables(detail.get("details"))]
    found = (slug(error.get("code")) for error in (*grandchildren, *details, body))
    return Cause(
        codes=tuple(code for code in found if code),
        message=message(
            text(body.get("message")),
            *(named(detail.get("property"), detail.get("message")) for detail in (*details, *grandchildren)),
            *_exclusions(body),
        ),
        correlation_id=token(body.get("correlation_id")),
    )


def _exclusions(body: dict[str, Any]) -> Iterator[str | None]:
    """Why each excluded service could not take the shipment."""
    for service in tables(body.get("excluded_services")):
        carrier = table(service.get("carrier"))
        reason = table(service.get("exclusion")).get("reason")
        yield named(carrier.get("service_name") or carrier.get("service_reference"), reason)


def by_code(cause: Cause) -> Outcome | None:
    """The outcome of the codes, whatever the status; None if they are unknown or missing."""
    # At any position: our own earlier call may have taken effect, which takes precedence over other codes.
    if not _INVALID_STATE.isdisjoint(cause.codes):
        return Unknown(reason="invalid_state", message=cause.message, correlation_id=cause.correlation_id)
    return next((outcome for code in cause.codes if (outcome := _row(code, cause))), None)


def _row(code: str, cause: Cause) -> Outcome | None:
    if code in _REFUSED:
        return Refused(reason=code, message=cause.message, correlation_id=cause.correlation_id)
    if code in _CONFLICT:
        return Refused(reason="conflict", message=cause.message, correlation_id=cause.correlation_id)
    if code in _STOPPED:
        return Stopped(reason=_STOPPED[code], message=cause.message, correlation_id=cause.correlation_id)
    if code == _PROCESSING:
        return NotYet(reason=_PROCESSING, message=cause.message, correlation_id=cause.correlation_id)
    return None


def rejection(rejected: dict[str, Any]) -> Outcome:
    """An entry of `rejected` in the response to a "many" call: without a known cause it is a refusal."""
    cause = cause_of(rejected)
    return by_code(cause) or Refused(
        reason=next(iter(cause.codes), "rejected"),
        message=cause.message,
        correlation_id=cause.correlation_id,
        certain=bool(cause.codes),
    )


def parse_error(
    strategy: Strategy, references: Sequence[str], response: ApiResponse, now: datetime
) -> dict[str, Outcome]:
    """The outcome for each shipment of an allocation call with an error response.

    A bulk call is refused as a whole: one shipment's error says nothing about the others, unless the step's own
    reference is invalid. Shipments that the details name have their own outcome.
    """
    error = table(response.json)
    outcome = _outcome(error, response, now, strategy)
    shared = for_each(outcome)
    if len(references) == 1 or not isinstance(shared, BulkRefused) or _is_of_the_step(outcome, error):
        return dict.fromkeys(references, outcome)
    named = {
        reference: _outcome({**error, "details": details}, response, now, strategy)
        for reference, details in _by_position(error, references).items()
    }
    return {reference: named.get(reference, shared) for reference in references}


def _is_of_the_step(outcome: Outcome, error: dict[str, Any]) -> bool:
    """Whether a code says so: a bare 404 may also concern one of the shipments."""
    return outcome.reason in _OF_THE_STEP and outcome.reason in cause_of(error).codes


def _by_position(error: dict[str, Any], references: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The details of the shipments that they name by their position in our request, `$.shipments[3]`."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for detail in tables(error.get("details")):
        match = _POSITION.match(text(detail.get("property")) or "")
        if match and int(match[1]) < len(references):
            found[references[int(match[1])]].append(detail)
    return found


def error_outcome(response: ApiResponse, now: datetime, strategy: Strategy | None = None) -> Outcome:
    """The outcome of an error. Without a strategy it is that of a request that allocates nothing."""
    return _outcome(table(response.json), response, now, strategy)


def _outcome(error: dict[str, Any], response: ApiResponse, now: datetime, strategy: Strategy | None) -> Outcome:
    cause = cause_of(error)
    return (
        by_code(cause)
        or _by_step(response, cause, strategy)
        or by_status(response, now, cause.message, cause.correlation_id)
    )


def _by_step(response: ApiResponse, cause: Cause, strategy: Strategy | None) -> Outcome | None:
    """The statuses whose meaning depends on v2 and on the request."""
    words = cause.message or in_words(response)
    if strategy and V2 in strategy.needs_quote and response.status in _NO_SUCH_QUOTE and _about_quote(cause):
        return NotYet(reason="quote_expired", message=words, correlation_id=cause.correlation_id)
    if response.status == HTTPStatus.BAD_REQUEST:
        return Stopped(reason="invalid_request", message=words, correlation_id=cause.correlation_id)
    if response.status == HTTPStatus.NOT_FOUND and strategy and strategy.name in _NAMES_A_REFERENCE:
        reason = f"{strategy.name}_not_found"
        # The API names a code; without one it may come from something in front of it.
        return Refused(reason=reason, message=words, correlation_id=cause.correlation_id, certain=bool(cause.codes))
    if response.status == HTTPStatus.NOT_FOUND:
        return Stopped(reason="shipment_not_found", message=words, correlation_id=cause.correlation_id)
    if response.status in _NO_CARRIER:
        return Refused(reason=_NO_CARRIER[response.status], message=words, correlation_id=cause.correlation_id)
    return None


def _about_quote(cause: Cause) -> bool:
    return any("quote" in code for code in cause.codes)
