"""Whether a response is the API's, or foreign: from an ingress, a proxy, a firewall."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from tasks.rules.outcome import FOREIGN, NotSent, Outcome, Refused, Stopped, Unknown
from tasks.work.clock import boottime
from worker.carrier_api.http_status import ALLOCATION_FAILED, NO_QUOTES, in_words
from worker.carrier_api.response import ApiResponse, retry_after_s

# A 429 is obeyed, also from a proxy.
_REFUSALS = frozenset(range(400, 500)) - {HTTPStatus.TOO_MANY_REQUESTS} | {ALLOCATION_FAILED, NO_QUOTES}
_OF_THE_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_OF_THE_CALL = _REFUSALS - _OF_THE_KEY
# Statuses of an ingress, proxy or firewall that did not forward the request. With another status, such as 408 or 499,
# it may have forwarded it: then a call for an allocation is open.
_NOT_PASSED_ON = _OF_THE_KEY | {
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    ALLOCATION_FAILED,
}

_ADVICE = "not from the API but from something in front of it; check base_url, firewall and proxy"


KNOWN_S = 30.0
"""How long a response shows whose host it is; shorter than the time in which a shipment may not exist yet."""


class Hosts:
    """Remembers whether each host's latest response with a body was the API's own or foreign.

    A refusal without a body has no form; it counts as the API's while the host's other responses are.
    """

    def __init__(self) -> None:
        """No response is known yet."""
        self._feedback: dict[str, tuple[bool, float]] = {}

    def hear(self, host: str, response: ApiResponse) -> None:
        """Remember whether this response is the API's own."""
        if response.form != "empty":
            self._feedback[host] = response.form == "own", boottime()

    def _is_own(self, host: str) -> bool | None:
        """Whether its responses are the API's; None without a recent one."""
        is_own, at = self._feedback.get(host, (False, float("-inf")))
        return is_own if boottime() < at + KNOWN_S else None

    def foreign(self, host: str, response: ApiResponse, now: datetime, *, is_call: bool) -> NotSent | Unknown | None:
        """The outcome of a refusal that is not the API's, else None. `is_call`: the request allocates nothing.

        While the host is unknown, an empty refusal of a request that allocates nothing is foreign.
        """
        if not self._is_foreign(host, response, is_call=is_call):
            return None
        wait_s = retry_after_s(response.retry_after, now)
        words = f"{in_words(response)}: {_ADVICE}"
        if is_call or response.status in _NOT_PASSED_ON:
            return NotSent(reason=FOREIGN, message=words, retry_after_s=wait_s)
        return Unknown(reason="unexpected_status", message=words, retry_after_s=wait_s)

    def _is_foreign(self, host: str, response: ApiResponse, *, is_call: bool) -> bool:
        if response.status not in _REFUSALS or response.form == "own":
            return False
        if response.form == "foreign":
            return True
        # An API's gateway may refuse a key without a body.
        is_own = self._is_own(host)
        return response.status not in _OF_THE_KEY and not (is_own if is_own is not None else not is_call)

    def weighed(self, host: str, response: ApiResponse, outcomes: Mapping[str, Outcome]) -> Mapping[str, Outcome]:
        """The outcomes of an allocation: an empty refusal from an unknown host is uncertain, and read back first."""
        if response.status not in _OF_THE_CALL or response.form != "empty" or self._is_own(host) is not None:
            return outcomes
        return {reference: _uncertain(outcome) for reference, outcome in outcomes.items()}


def _uncertain(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Refused | Stopped):
        return Refused(
            reason=outcome.reason, message=outcome.message, correlation_id=outcome.correlation_id, certain=False
        )
    return outcome
