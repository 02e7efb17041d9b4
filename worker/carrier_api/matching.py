"""From what an answer says to one outcome for each shipment that was asked for."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from tasks.rules.outcome import Outcome, Queued, Unknown
from worker.carrier_api.response import ApiResponse

Statements = tuple[str | None, Outcome]
"""An outcome and the shipment that the answer says it belongs to; None when the answer does not say."""

QUEUED = Queued(reason="queued")
UNREADABLE = Unknown(reason="unreadable_answer", message="the answer cannot be read")

_ACCEPTED = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS})
MISSING = Unknown(reason="missing_in_answer", message="the answer does not mention this shipment")
_CONTRADICTION = Unknown(reason="contradictory_answer", message="the answer says two things about this shipment")


def is_accepted(response: ApiResponse) -> bool:
    """Whether the status says that what the body leaves open was taken in; a page in the API's place says nothing."""
    return response.status in _ACCEPTED and response.form != "foreign"


def match_outcomes(references: Sequence[str], spoken: Iterable[Statements]) -> dict[str, Outcome]:
    """Exactly one outcome for each reference; an outcome without a name counts only where nobody else can be meant."""
    said = list(spoken)
    if len(references) == 1 and len(said) == 1 and said[0][0] is None:
        return {references[0]: said[0][1]}
    outcomes: dict[str | None, Outcome] = {}
    for reference, outcome in said:
        if type(outcomes.setdefault(reference, outcome)) is not type(outcome):
            outcomes[reference] = _CONTRADICTION
    return {reference: outcomes.get(reference, MISSING) for reference in references}
