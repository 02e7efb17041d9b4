"""v2's successful responses to an allocation call, in every documented form."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_never

from tasks.rules.outcome import Allocated, Carrier, Outcome, Price, Queued, Refused
from worker.carrier_api import carrier_price
from worker.carrier_api.fields import entries, table, tables, text, texts, token, tokens
from worker.carrier_api.labels import labels
from worker.carrier_api.matching import QUEUED, UNREADABLE, Statements, is_accepted, match_outcomes
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.states import allocation_state, unclear, withdrawn
from worker.carrier_api.v2.errors import by_code, cause_of, rejection


def parse_results(references: Sequence[str], response: ApiResponse) -> dict[str, Outcome]:
    """The outcome for each shipment of a call with status 200, 202, 207 or 407."""
    accepted = is_accepted(response)
    spoken = None if response.form == "empty" else _statements(response.json, accepted=accepted)
    if spoken is None:
        return dict.fromkeys(references, QUEUED if accepted else UNREADABLE)
    return match_outcomes(references, spoken)


def _statements(body: Any, *, accepted: bool) -> Iterable[Statements] | None:
    """The statements of a body about shipments; None for an undocumented form.

    The OpenAPI document and the help pages disagree about the body to "many" calls: a list of results
    in the one, `queued` and `rejected` in the other; filters have a form of their own.
    """
    match body:
        case {"state": _}:
            return [_result(body, accepted=accepted)]
        case list():
            return [_result(result, accepted=accepted) for result in tables(body)]
        case {"queued": _} | {"rejected": _}:
            return [*_queued(body.get("queued")), *_rejected(body.get("rejected"))]
        case {"shipments": list()}:
            return _queued(body["shipments"])
        case _:
            return None


def _queued(shipments: object) -> Iterator[Statements]:
    """References, or links that carry one."""
    for shipment in entries(shipments):
        yield text(shipment) or text(table(shipment).get("reference")), QUEUED


def _rejected(rejected: object) -> Iterator[Statements]:
    for entry in tables(rejected):
        outcome = rejection(entry)
        for reference in texts(entry.get("references")):
            yield reference, outcome


def _result(result: dict[str, Any], *, accepted: bool) -> Statements:
    """One AllocateResult, decided by its state and never by its message."""
    reference = text(result.get("shipment_reference"))
    found = allocation_state(result.get("state"))
    match found:
        case "allocated":
            return reference, allocated(result, tables(result.get("_links")), token(result.get("correlation_id")))
        case "allocation_failed":
            return reference, _failed(result)
        case "withdrawn":
            return reference, withdrawn(result.get("state"))
        case "allocating":
            return reference, Queued(reason=found, correlation_id=token(result.get("correlation_id")))
        case "unallocated" | None:
            return reference, QUEUED if accepted else unclear(result.get("state"))
        case _:
            assert_never(found)


def _failed(result: dict[str, Any]) -> Refused:
    """The state is a refusal; the codes among its details may give the cause."""
    cause = cause_of(result)
    outcome = by_code(cause)
    if isinstance(outcome, Refused):
        return outcome
    reason = next(iter(cause.codes), "allocation_failed")
    return Refused(reason=reason, message=cause.message, correlation_id=cause.correlation_id)


def allocated(holder: dict[str, Any], links: Iterable[dict[str, Any]], correlation_id: str | None = None) -> Allocated:
    """What an AllocateResult, or the `allocation` of a shipment that is read back, says about its allocation."""
    return Allocated(
        carrier=carrier(holder.get("carrier")),
        price=_price(holder.get("price")),
        tracking_references=_tracking(table(holder.get("tracking_details"))),
        labels=labels((link.get("href"), link.get("rel"), link.get("type")) for link in links),
        correlation_id=correlation_id,
    )


def carrier(value: object) -> Carrier | None:
    """A CarrierDetails; None when it names no carrier."""
    details = table(value)
    return carrier_price.carrier(
        details.get("reference"), details.get("name"), details.get("service_reference"), details.get("service_name")
    )


def _price(value: object) -> Price | None:
    price = table(value)
    return carrier_price.price(price.get("net"), price.get("gross"), price.get("currency"))


def _tracking(details: dict[str, Any]) -> tuple[str, ...]:
    """The references of the shipment; some carriers only give references for its contents."""
    whole = tokens(table(details.get("shipment")).get("tracking_references"))
    return whole or tuple(
        reference
        for content in tables(details.get("contents"))
        for reference in tokens(content.get("tracking_references"))
    )
