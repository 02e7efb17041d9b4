"""Assigns the statements of a response to the requested shipments, one outcome for each."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from tasks.rules.outcome import Outcome, Queued, Unknown
from worker.carrier_api.response import ApiResponse

Statements = tuple[str | None, Outcome]
"""An outcome and the shipment that the response names for it, or None."""

QUEUED = Queued(reason="queued")
UNREADABLE = Unknown(reason="unreadable_response", message="the response cannot be read")

_ACCEPTED = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS})
MISSING = Unknown(reason="missing_in_response", message="the response does not mention this shipment")
_CONTRADICTION = Unknown(reason="contradictory_response", message="the response says two things about this shipment")


def is_accepted(response: ApiResponse) -> bool:
    """Whether the status says that omitted shipments were queued; a foreign page proves nothing."""
    return response.status in _ACCEPTED and response.form != "foreign"


def match_outcomes(references: Sequence[str], statements: Iterable[Statements]) -> dict[str, Outcome]:
    """Exactly one outcome for each reference.

    An outcome without a name counts only if it can mean no other shipment.
    """
    listed = list(statements)
    if len(references) == 1 and len(listed) == 1 and listed[0][0] is None:
        return {references[0]: listed[0][1]}
    outcomes: dict[str | None, Outcome] = {}
    for reference, outcome in listed:
        if type(outcomes.setdefault(reference, outcome)) is not type(outcome):
            outcomes[reference] = _CONTRADICTION
    return {reference: outcomes.get(reference, MISSING) for reference in references}
