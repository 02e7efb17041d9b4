"""A rehearsal: with `--follow` the merchant's rules and the carriers' refusals are about the same shipments."""

from pathlib import Path

import httpx

from tests.acceptance.system import System, order_event, running, v1_file, v2_file

FREIGHT = '[[rules]]\nname = "heavy"\nwhen = { weight_kg = { over = 20 } }\nstrategy = { service_group = "freight" }\n'
CHEAPEST = '{ service_group = "valuableGoods" }'
ORDERS = {"light": {"weight_kg": 1}, "heavy": {"weight_kg": 500}, "too_heavy": {"weight_kg": 1500}}


def merchant_file(system: System, name: str) -> str:
    """The file of a merchant: v1, v2, or v2 with bulk calls; heavy goods go by freight."""
    if name == "v1":
        return v1_file(system.url, CHEAPEST, more=FREIGHT)
    return v2_file(system.url, CHEAPEST, more=FREIGHT, api="bulk = true\n" if name == "bulk" else "")


def test_rules_and_refusals_agree(tmp_path: Path) -> None:
    """A light parcel has a carrier, a heavy one freight, and one that freight does not take fails for its weight."""
    merchants = "v2", "bulk", "v1"
    with running(tmp_path, "intake", "worker", "beat", sandbox=["--follow"]) as system:
        for merchant in merchants:
            system.merchant(merchant, merchant_file(system, merchant))
        system.publish(
            order_event(merchant, [f"{merchant}_{name}"], facts=facts)
            for merchant in merchants
            for name, facts in ORDERS.items()
        )
        system.wait_settled(9)
        services = {event["shipment"]: event["carrier"]["service_reference"] for event in system.allocated()}
        failed = {event["shipment"]: event["message"] for event in system.failed()}
        labels = [label["href"] for event in system.allocated() for label in event["labels"]]
        opened = {httpx.get(href).content[:3] for href in labels}
    assert services.keys() == {f"{merchant}_{name}" for merchant in merchants for name in ("light", "heavy")}
    assert {services[f"{merchant}_heavy"] for merchant in merchants} == {"HAUL-PALLET"}
    assert {services[f"{merchant}_light"] for merchant in merchants} == {"DNQ72"}
    assert failed.keys() == {f"{merchant}_too_heavy" for merchant in merchants}
    assert "too heavy" in failed["v2_too_heavy"]
    assert opened == {b"%PD", b"^XA"}
