"""From what an answer says to one outcome for each shipment that was asked for."""

from collections.abc import Iterable, Sequence

from tasks.outcome import Outcome, Unknown

Spoken = tuple[str | None, Outcome]
"""An outcome and the shipment that the answer says it belongs to; None when the answer does not say."""

_MISSING = Unknown(reason="missing_in_answer", message="the answer does not mention this shipment")
_CONTRADICTION = Unknown(reason="contradictory_answer", message="the answer says two things about this shipment")


def spread(references: Sequence[str], spoken: Iterable[Spoken]) -> dict[str, Outcome]:
    """Exactly one outcome for each reference; an outcome without a name counts only where nobody else can be meant."""
    said = list(spoken)
    if len(references) == 1 and len(said) == 1 and said[0][0] is None:
        return {references[0]: said[0][1]}
    outcomes: dict[str | None, Outcome] = {}
    for reference, outcome in said:
        if type(outcomes.setdefault(reference, outcome)) is not type(outcome):
            outcomes[reference] = _CONTRADICTION
    return {reference: outcomes.get(reference, _MISSING) for reference in references}
