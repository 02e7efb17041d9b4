"""Whether a 403 concerns the key, which pauses the merchant, or only the shipment. Pure."""

from dataclasses import replace

from tasks.rules.outcome import Feedback, Finding, Quoted, Refused, Stopped, Unknown
from tasks.rules.shipment import Shipment

OWN_DENIALS = 2
"""After so many 403s, with good responses to other shipments between them, the step is refused."""


ALONE_WITHIN_S = 10.0
"""A 403 this soon after a good response to another shipment is the shipment's own, until another one gets a 403 too."""


def accepts_key(feedback: Feedback, finding: Finding | Quoted) -> bool:
    """Whether a response shows that the key works: it is the API's own, or refuses only this shipment."""
    match finding:
        case Stopped(reason="forbidden_here") | Refused(reason="forbidden"):
            return True
        case Unknown():
            return finding.by_api
        case _:
            return feedback.signal in ("good", "throttled")


def own_denial(shipment: Shipment, response: Stopped, last_good: float, *, of_step: bool) -> Finding:
    """The finding of a repeated 403. `last_good`: when the same key last got a good response to such a call.

    While other shipments are denied too, it concerns the key. Otherwise it is the shipment's own, which counts the
    second time. `of_step`: it refused a call for the step, not a read-back.
    """
    if last_good <= (shipment.progress.denied_at or 0.0):
        return response
    if of_step and shipment.progress.denials + 1 >= OWN_DENIALS:
        return Refused(reason="forbidden", message=response.message, correlation_id=response.correlation_id)
    return replace(response, reason="forbidden_here")
