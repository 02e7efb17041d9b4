"""A refusal of a whole call for several shipments: its cause may lie in any one of them."""

from tasks.rules.outcome import DENIED, BulkRefused, NotYet, Outcome, Refused, Stopped, Unknown
from worker.carrier_api.fields import message

# A key is wrong for all of them.
_OF_ALL = frozenset(DENIED)
# A gateway may have sent our request twice: what the first one did is seen by a read-back.
_MAY_HAVE_ACTED = frozenset({"conflict", "invalid_state"})


def for_each(outcome: Outcome, *, partly: bool = False) -> Outcome:
    """What the outcome of a whole call means for each of several shipments.

    The reason and the words of the API become the message. `partly`: some may have been allocated all the same.
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
