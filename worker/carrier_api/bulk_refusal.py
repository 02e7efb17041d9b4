"""A refusal of a whole bulk call: the cause may be any of its shipments."""

from tasks.rules.outcome import DENIED, BulkRefused, NotYet, Outcome, Refused, Stopped, Unknown
from worker.carrier_api.fields import message

# A wrong key concerns all of them.
_OF_ALL = frozenset(DENIED)
# A gateway may have sent our request twice: a read-back shows what the first one did.
_MAY_HAVE_ACTED = frozenset({"conflict", "invalid_state"})


def for_each(outcome: Outcome, *, partly: bool = False) -> Outcome:
    """The outcome for each shipment of a bulk call with one outcome.

    Reason and text of the API become the message. `partly`: some may have been allocated.
    """
    if not isinstance(outcome, Refused | Stopped | NotYet | Unknown) or outcome.reason in _OF_ALL:
        return outcome
    if isinstance(outcome, Unknown) and outcome.reason not in _MAY_HAVE_ACTED:
        return outcome
    words = f"refused together with other shipments: {outcome.reason}"
    return BulkRefused(
        reason=outcome.reason if outcome.reason in _MAY_HAVE_ACTED else "refused_together",
        message=message(f"{words}: {outcome.message}" if outcome.message else words),
        correlation_id=outcome.correlation_id,
        partly=partly or outcome.reason in _MAY_HAVE_ACTED,
    )
