"""Every strategy of both generations, through processes, Redis and HTTP."""

from collections.abc import Iterator

import pytest

from tests.acceptance.system import System, order_event, running, v1_file, v2_file

ROLES = ("intake", "worker", "beat")
EVERYWHERE = [
    '{ carrier_service = "FF_LINET-00001" }',
    '{ service_group = "valuableGoods" }',
    "{ default_rules = true }",
    "{ cheapest_quote = true }",
    '{ filters = { direction = "outbound" } }',
    '{ quote = "cheapest" }',
    '{ quote = "earliest" }',
]
CASES = [
    *(("v2", strategy) for strategy in ('{ virtual_service = "FF_LINET-00001" }', *EVERYWHERE)),
    ("bulk", EVERYWHERE[0]),
    ("bulk", EVERYWHERE[1]),
    *((wire, strategy) for wire in ("json", "xml") for strategy in EVERYWHERE),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system for all cases."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        yield system


def merchant_file(url: str, wire: str, strategy: str) -> str:
    """The merchant file of a case."""
    if wire in ("json", "xml"):
        return v1_file(url, strategy, body_format=wire)
    text = v2_file(url, strategy)
    return text.replace("[allocation]", "bulk = true\n[allocation]", 1) if wire == "bulk" else text


@pytest.mark.parametrize(("number", "wire", "strategy"), [(n, *case) for n, case in enumerate(CASES)])
def test_one_order_each(system: System, number: int, wire: str, strategy: str) -> None:
    """An order is allocated, with carrier, tracking and, if the API returned any, label links."""
    name = f"case{number}"
    system.merchant(name, merchant_file(system.url, wire, strategy))
    before = system.settled()
    system.publish([order_event(name, [f"sp_case{number}"])])
    system.wait_settled(before + 1)
    (event,) = [event for event in system.allocated() if event["merchant"] == name]
    assert next(iter(event["strategy"])) in strategy
    assert event["carrier"]["reference"]
    assert event["tracking_references"]
    # A consignment that is read back has no label links.
    assert event["labels"] or (event["adopted"] and wire in ("json", "xml"))


def test_a_list_of_fifty(system: System) -> None:
    """Each entry of a response for fifty has its own outcome: allocated, refused, or missing and read back."""
    text = v1_file(system.url, '{ carrier_service = "FF_LINET-00001" }', '[{ service_group = "freight" }]')
    system.merchant("fifty", text)
    references = [f"sp_fifty{n}" for n in range(50)]
    system.create(*({"reference": reference, "weight_kg": 60} for reference in references[:10]))
    system.create(*({"reference": reference, "weight_kg": 9000} for reference in references[10:15]))
    system.faults(
        {"fault": "omit", "references": references[15:20], "acts": True, "times_each": 1},
        {"fault": "omit", "references": references[20:25], "times_each": 1},
    )
    before = system.settled()
    system.publish([order_event("fifty", references)])
    system.wait_settled(before + 50)
    system.faults()
    allocated = {event["shipment"]: event for event in system.allocated() if event["merchant"] == "fifty"}
    failed = {event["shipment"]: event for event in system.failed() if event["merchant"] == "fifty"}
    assert {allocated[reference]["fell_back"] for reference in references[:10]} == {True}
    assert {failed[reference]["reason"] for reference in references[10:15]} == {"all_steps_refused"}
    assert {allocated[reference]["adopted"] for reference in references[15:20]} == {True}
    assert {allocated[reference]["attempts"] for reference in references[20:25]} == {2}
    assert {allocated[reference]["attempts"] for reference in references[25:]} == {1}


def test_ten_thousand_orders_in_few_calls(system: System) -> None:
    """Bulk calls carry many shipments: ten thousand orders need at most five hundred calls."""
    system.merchant("many", v1_file(system.url, '{ carrier_service = "FF_LINET-00001" }'))
    before, puts = system.settled(), system.counts()["puts"]
    system.publish(order_event("many", [f"sp_many{n}"]) for n in range(10_000))
    system.wait_settled(before + 10_000, 100)
    assert system.counts()["puts"] - puts <= 500


def test_throughput_needs_no_sweep(system: System) -> None:
    """Without beat, children claim what is due: two thousand orders are settled without a sweep."""
    system.kill("beat")
    system.merchant("swept", v2_file(system.url, '{ virtual_service = "FF_LINET-00001" }'))
    before = system.settled()
    system.publish(order_event("swept", [f"sp_swept{n}"]) for n in range(2000))
    system.wait_settled(before + 2000, 100)
    system.start("beat")
