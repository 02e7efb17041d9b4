"""The messages of fallback chains, and which shipments share a chain."""

import json

from tasks.work.messages import (
    RESULT_FIELDS,
    FellBack,
    Link,
    LinkClaim,
    by_route,
    make_link,
    parse_link,
    summarize,
)
from tests.factories.batch_run import make_shipments
from tests.factories.shipments import GROUP, SERVICE, VIRTUAL


def fell_back(references: str, held_by: str = "t1") -> list[FellBack]:
    """Shipments of acme at their second step, owned under a lease token."""
    return [FellBack(each, held_by) for each in make_shipments(references, VIRTUAL, SERVICE, GROUP, step=1)]


def test_a_link_survives_a_round_trip() -> None:
    """A link is unchanged by a round trip through JSON."""
    link = make_link([*fell_back("a b"), *fell_back("c", "t2")], {"mood": {"good": 1}})
    assert parse_link(json.loads(json.dumps(link.as_message()))) == link
    assert link.claims == (LinkClaim("t1", "acme", 1, ("a", "b")), LinkClaim("t2", "acme", 1, ("c",)))
    assert link.shipments == 3


def test_unknown_fields_are_passed_on() -> None:
    """Unknown fields are kept; the previous link's result is dropped."""
    counts = dict.fromkeys(RESULT_FIELDS, 1)
    link = parse_link({"claims": ["t1 acme 1 a"], "shipments": 1, "mood": 1, **counts})
    assert link == Link(claims=(LinkClaim("t1", "acme", 1, ("a",)),), unknown_fields={"mood": 1})
    assert link.as_message().keys() == {"mood", "merchant", "shipments", "claims"}


def test_a_message_is_minimal() -> None:
    """A message contains merchants, references, tokens and steps, and nothing else of an order."""
    message = make_link(fell_back("a"), {}).as_message()
    assert message == {"merchant": "acme", "shipments": 1, "claims": ["t1 acme 1 a"]}


def test_what_a_message_shows_first() -> None:
    """Celery cuts what it shows: merchant and number of shipments come before unknown fields and claims."""
    assert [*make_link(fell_back("a"), {"mood": 1}).as_message()] == ["merchant", "shipments", "mood", "claims"]


def test_shipments_that_share_a_chain() -> None:
    """Shipments with the same remaining strategies share a chain, whatever their earlier steps."""
    one, two, three = (FellBack(each, "t") for each in make_shipments("a b c", VIRTUAL, SERVICE, GROUP, step=1))
    (other,) = (FellBack(each, "t") for each in make_shipments("d", GROUP, SERVICE, GROUP, step=1))
    (later,) = (FellBack(each, "t") for each in make_shipments("e", VIRTUAL, SERVICE, GROUP, step=2))
    (longer,) = (FellBack(each, "t") for each in make_shipments("f", VIRTUAL, SERVICE, GROUP, VIRTUAL, step=1))
    ways = by_route([one, later, two, other, longer, three])
    assert {steps: [each.shipment.reference for each in way] for steps, way in ways.items()} == {
        ("carrier_service", "service_group"): ["a", "b", "d", "c"],
        ("service_group",): ["e"],
        ("carrier_service", "service_group", "virtual_service"): ["f"],
    }


def test_summary_of_merchants() -> None:
    """The first merchant is named, with the number of others."""
    assert [summarize(names) for names in ([], ["b"], ["b", "a", "b"], "cba")] == [
        "",
        "b",
        "a and 1 more",
        "a and 2 more",
    ]
