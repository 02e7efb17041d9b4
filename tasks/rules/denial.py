"""Whose a 403 is: the key's, which pauses the merchant, or the shipment's own. Pure."""

from dataclasses import replace

from tasks.rules.outcome import Feedback, Finding, Quoted, Refused, Stopped, Unknown
from tasks.rules.shipment import Shipment

OWN_DENIALS = 2
"""So many 403, with good answers to others between them, and the step is refused."""


ALONE_WITHIN_S = 10.0
"""A 403 so soon after a good answer to another one is taken for the shipment's own, until a second one gets it too."""


def accepts_key(feedback: Feedback, finding: Finding | Quoted) -> bool:
    """Whether an answer shows that the key works: one of the API itself, or a refusal of this shipment alone."""
    match finding:
        case Stopped(reason="forbidden_here") | Refused(reason="forbidden"):
            return True
        case Unknown():
            return finding.by_api
        case _:
            return feedback.signal in ("good", "throttled")


def own_denial(shipment: Shipment, answer: Stopped, last_good: float, *, of_step: bool) -> Finding:
    """What a repeated 403 is worth. `last_good`: when the same key last had a good answer to such a call.

    While the others are denied too it is the key's. Else it is the shipment's; that is believed the second time.
    `of_step`: it was the step that was asked for, which a read-back does not.
    """
    if last_good <= (shipment.progress.denied_at or 0.0):
        return answer
    if of_step and shipment.progress.denials + 1 >= OWN_DENIALS:
        return Refused(reason="forbidden", message=answer.message, correlation_id=answer.correlation_id)
    return replace(answer, reason="forbidden_here")
