"""v1's answers to an allocation call: an Allocation Summary or a list of them, in three forms."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from tasks.outcome import Allocated, Carrier, Outcome, Queued, Refused, Throttled, Unknown
from worker.pro import facts
from worker.pro.fields import message, small_number, tables, text
from worker.pro.labels import labels, last_segments
from worker.pro.legs_v1 import in_order, tracking
from worker.pro.reply import Reply, read_json
from worker.pro.spread import spread
from worker.pro.statuses import SERVER_ERRORS, by_status, in_words
from worker.pro.xml import read_xml

_ANSWERED = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS})
# v1 documents no cause for these: they may just as well mean that the consignment is already allocated.
_NO_CAUSE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_SUCCESS = range(200, 300)
_CONSIGNMENT_LINKS = frozenset({"detail", "link"})
_QUEUED = Queued(reason="queued")
_UNREADABLE = Unknown(reason="unreadable_answer", message="the answer cannot be read")


def read_body(body: bytes) -> Any:
    """The body in one shape, whether it is XML or JSON; its first character tells, whatever its headers say."""
    return read_xml(body) if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else read_json(body)


def read_summaries(references: Sequence[str], reply: Reply, now: datetime) -> dict[str, Outcome]:
    """The outcome for each consignment of an allocation call."""
    answer = read_body(reply.body)
    if reply.status not in _ANSWERED:
        return dict.fromkeys(references, error_outcome(reply, now, answer))
    accepted = reply.status == HTTPStatus.ACCEPTED
    if not isinstance(answer, list | dict):
        return dict.fromkeys(references, _QUEUED if accepted else _UNREADABLE)
    asked = frozenset(references)
    summaries = tables(answer if isinstance(answer, list) else [answer])
    spoken = [(_consignment(summary, asked), _outcome(summary, accepted=accepted)) for summary in summaries]
    return spread(references, spoken)


def error_outcome(reply: Reply, now: datetime, answer: object) -> Outcome:
    """What an error means for an allocation; v1 documents no codes, so the status decides."""
    words = (_words(answer) if isinstance(answer, dict) else "") or in_words(reply)
    if reply.status in _NO_CAUSE:
        return Refused(reason="refused", message=words, certain=False)
    return by_status(reply, now, words)


def _words(summary: dict[str, Any]) -> str:
    """What a summary says to a person, in whichever of its forms."""
    # In small letters it is the words of the gateway in front.
    return message(text(summary.get("Message")) or text(summary.get("Description")) or text(summary.get("message")))


def _consignment(summary: dict[str, Any], asked: frozenset[str]) -> str | None:
    """Whom a summary speaks of: `Data`, or the end of the link to the consignment. Never guessed from its words."""
    data = text(summary.get("Data"))
    if data in asked:
        return data
    for link in tables(summary.get("ApiLinks")):
        if str(link.get("Rel")).lower() in _CONSIGNMENT_LINKS and (href := text(link.get("Href"))):
            return unquote(last_segments(href)[0]) or data
    return data


def _outcome(summary: dict[str, Any], *, accepted: bool) -> Outcome:
    """Each summary succeeds or fails by itself."""
    match _own_status(summary):
        case None:
            return _QUEUED if accepted else _UNREADABLE
        case HTTPStatus.ACCEPTED:
            return _QUEUED
        case status if status in _SUCCESS:
            return _allocated(summary)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(reason="throttled", message=_words(summary))
        case status if status in SERVER_ERRORS:
            return Unknown(reason="server_error", message=_words(summary))
        case _:
            return Refused(reason="refused", message=_words(summary), certain=False)


def _own_status(summary: dict[str, Any]) -> int | None:
    """The status of a summary: its `StatusCode` or what `IsSuccess` stands for; a failure wins over a success."""
    success = summary.get("IsSuccess")
    status = small_number(summary.get("StatusCode"))
    if success in (False, "false") and (status is None or status in _SUCCESS):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.OK if status is None and success in (True, "true") else status


def _allocated(summary: dict[str, Any]) -> Allocated:
    legs = in_order(summary.get("ConsignmentLegs"))
    links = ((link.get("Href"), link.get("Rel"), None) for link in tables(summary.get("ApiLinks")))
    return Allocated(
        carrier=_carrier(summary) or (_carrier(legs[0]) if legs else None),
        tracking_references=tracking(legs),
        labels=labels(links),
    )


def _carrier(named: dict[str, Any]) -> Carrier | None:
    return facts.carrier(
        named.get("CarrierReference"),
        named.get("CarrierName"),
        named.get("CarrierServiceReference"),
        named.get("CarrierServiceName"),
    )
