"""Celery messages: what one says, and what a newer version says with it."""

from tasks.allocate import read_message
from tasks.chains import handover
from tasks.ports import Handover
from tests.rules.made import GROUP, VIRTUAL
from tests.tasks.trial import several

MESSAGE = {"merchant": "acme", "shipments": 1, "strategy": "", "token": "t", "references": ["a"]}


def test_a_message_is_read_as_it_was_written() -> None:
    """What one process sends is what another reads."""
    for sent in (
        Handover(merchant="acme", shipments=2, strategy="s", token="t", references=("a", "b")),
        Handover(merchant="acme", shipments=1, strategy="s", token="t", references=("a",), alone=True),
        handover(several("a b", VIRTUAL, GROUP, step=1), "t"),
    ):
        assert read_message(sent.as_message()) == sent


def test_only_an_isolated_shipment_is_alone() -> None:
    """A message does not say so unless it is."""
    assert "alone" not in read_message(MESSAGE).as_message()
    assert read_message({**MESSAGE, "alone": True}).as_message()["alone"] is True


def test_what_a_newer_version_says_is_carried_along() -> None:
    """Unknown fields come out as they went in."""
    newer = {**MESSAGE, "mood": {"good": [1]}, "unknown": None}
    assert read_message(newer).as_message() == {**newer, "references": ("a",)}


def test_a_handover_names_no_secrets() -> None:
    """A message says whose shipments, how many, which step and what is asked; references are all that is personal."""
    assert handover(several("a b", VIRTUAL, GROUP, step=1), "token-1").as_message() == {
        "merchant": "acme",
        "shipments": 2,
        "strategy": "service_group G",
        "token": "token-1",
        "references": ("a", "b"),
        "step": 1,
    }
