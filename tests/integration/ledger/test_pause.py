"""Paused merchants: reason, probes, and resuming."""

from itertools import pairwise

import pytest

from tasks.work.ports import Pause
from tests.factories.ledger_harness import Harness, new, references, step
from worker.streams.orders import GROUP

FIRST_S, MAX_S = 30, 600


async def parked(harness: Harness, *references: str) -> None:
    """Shipments of a merchant that are parked for ten minutes, in this order."""
    for number, reference in enumerate(references):
        claim = await harness.claim("acme", reference)
        await harness.report(claim, "park", due=harness.ledger.now() + 600 + number)


async def due_in_s(harness: Harness) -> float:
    """Seconds until the next probe."""
    paused = (await harness.ledger.paused())["acme"]
    return float(paused["probe_at"]) / 1000 - harness.ledger.now()


async def claim_probe(harness: Harness) -> str:
    """The next probe, as soon as it is due."""
    await harness.make_probe_due("acme")
    return await harness.ledger.probe("acme")


async def test_a_pause_is_returned_with_claims(harness: Harness) -> None:
    """A claim of a paused merchant returns the reason and the refused purpose; a second pause is no new one."""
    assert await harness.ledger.pause("acme", Pause(why="the key is refused", purpose="read"), "digest")
    assert not await harness.ledger.pause("acme", Pause(why="again", purpose="allocate"), "digest")
    claim = await harness.claim("acme", "a")
    assert claim.paused == Pause(why="the key is refused", purpose="read")
    assert claim.probe == ""
    paused = (await harness.ledger.paused())["acme"]
    assert (paused["why"], paused["digest"]) == ("the key is refused", "digest")
    assert paused["since"] == pytest.approx(harness.ledger.now(), abs=2)


async def test_other_merchants_are_not_paused(harness: Harness) -> None:
    """A pause applies to one merchant."""
    await harness.pause("acme")
    assert (await harness.claim("other", "a")).paused is None


async def test_a_resume_ends_it(harness: Harness) -> None:
    """Parked shipments are due, and the pause is removed."""
    await harness.pause("acme")
    await parked(harness, "a")
    assert await harness.claim_all() == []
    assert await harness.ledger.resume("acme") == 1
    (batch,) = await harness.claim_all()
    assert batch.paused is None
    assert await harness.ledger.paused() == {}


async def test_a_resume_makes_all_due(harness: Harness) -> None:
    """However many shipments are parked, a resume makes all of them due."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(2500)))
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    assert await harness.ledger.resume("acme") == 2500
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 200


async def test_after_a_pause_the_window_is_one(harness: Harness) -> None:
    """The window begins at one working shipment, and grows with every good response."""
    await harness.pause("acme")
    await harness.accept("acme", *(f"sp_{n}" for n in range(20)))
    await harness.ledger.resume("acme")
    at_work = []
    for _ in range(4):
        (batch,) = await harness.claim_all()
        at_work.append(len(batch.shipments))
        await harness.report(batch, "allocated", event="{}", api="api", signal="good")
    assert at_work == [1, 2, 4, 8]


async def test_without_a_pause_the_window_is_kept(harness: Harness) -> None:
    """Making parked shipments due does not reset the window."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(20)))
    await harness.ledger.resume("acme")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 20


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(0, FIRST_S), (5, FIRST_S), (300, 300), (9999, MAX_S)])
async def test_the_first_probe(harness: Harness, retry_after_s: float, waits_s: float) -> None:
    """A merchant is probed half a minute after it was paused, and not before `Retry-After`, up to ten minutes."""
    await harness.pause("acme", retry_after_s=retry_after_s)
    await parked(harness, "a")
    assert await harness.ledger.probe("acme") == ""
    assert await due_in_s(harness) == pytest.approx(waits_s, abs=3)
    assert await harness.claim_all() == []


async def test_a_probe_is_due_and_marked(harness: Harness) -> None:
    """The claim returns the probe and marks it; the other shipments stay parked."""
    await harness.pause("acme")
    await parked(harness, "a", "b", "c")
    name = await claim_probe(harness)
    (claim,) = await harness.claim_all()
    assert (references(claim), claim.probe) == ([name], name)
    assert claim.paused is not None


async def test_one_probe_at_a_time(harness: Harness) -> None:
    """Another probe follows only when the one before was refused, or was lost for two leases."""
    await harness.pause("acme")
    await parked(harness, "a", "b")
    assert await claim_probe(harness) != ""
    assert await harness.ledger.probe("acme") == ""
    assert await due_in_s(harness) == pytest.approx(2 * harness.settings.lease_seconds, abs=3)


async def test_pauses_double_to_ten_minutes(harness: Harness) -> None:
    """Each refused probe doubles the pause; a refusal of another shipment, or of an old probe, does not."""
    await harness.pause("acme")
    await parked(harness, "a", "b")
    waits = []
    for _ in range(6):
        name = await claim_probe(harness)
        assert not await harness.pause("acme", probe="another")
        assert not await harness.pause("acme", probe=name)
        waits.append(round(await due_in_s(harness)))
        assert not await harness.pause("acme", probe=name)
        assert round(await due_in_s(harness)) == pytest.approx(waits[-1], abs=1)
    assert waits == pytest.approx([60, 120, 240, 480, 600, 600], abs=2)


async def test_a_refused_probe_with_retry_after(harness: Harness) -> None:
    """The next probe is not made before the `Retry-After` of the last one."""
    await harness.pause("acme")
    await parked(harness, "a")
    await harness.pause("acme", probe=await claim_probe(harness), retry_after_s=500)
    assert await due_in_s(harness) == pytest.approx(500, abs=3)


@pytest.mark.parametrize("count", [2, 3, 49, 50, 51, 120])
async def test_another_shipment_each_time(harness: Harness, count: int) -> None:
    """The probe is not the shipment that was probed last, however many wait."""
    await harness.pause("acme")
    await harness.accept("acme", *(f"sp_{n}" for n in range(count)))
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    names = []
    for _ in range(8):
        names.append(await claim_probe(harness))
        await harness.raw.zadd("allocation:schedule:acme", {names[-1]: (harness.ledger.now() + 700) * 1000})
        await harness.pause("acme", probe=names[-1])
    assert all(before != after for before, after in pairwise(names))
    assert "" not in names


async def test_another_step_each_time(harness: Harness) -> None:
    """The probe is at another step than the last one, if possible: the 403 may concern only one step."""
    await harness.pause("acme")
    steps = {f"a{n}": "A" for n in range(10)} | {f"b{n}": "B" for n in range(3)}
    for reference, name in steps.items():
        await harness.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    tried = []
    for _ in range(4):
        name = await claim_probe(harness)
        tried.append(steps[name])
        await harness.pause("acme", probe=name)
    assert sorted(tried) == ["A", "A", "B", "B"]
    assert tried in (["A", "B", "A", "B"], ["B", "A", "B", "A"])


async def test_the_only_shipment_is_probed_again(harness: Harness) -> None:
    """If only one is parked it is the probe every time; if none is, there is no probe."""
    await harness.pause("acme")
    await harness.pause("other")
    await parked(harness, "a")
    for _ in range(2):
        assert await claim_probe(harness) == "a"
        await harness.pause("acme", probe="a")
    await harness.make_probe_due("other")
    assert await harness.ledger.probe("other") == ""


async def test_a_missing_key_is_not_probed(harness: Harness) -> None:
    """Without a key or a file there is no probe, nor for a merchant that is not paused."""
    await harness.pause("acme", purpose="")
    await parked(harness, "a")
    assert await claim_probe(harness) == ""
    assert await harness.ledger.probe("other") == ""


async def test_the_denied_shipment_is_not_the_first_probe(harness: Harness) -> None:
    """The first probe is another shipment than the denied one, and at another step if possible."""
    for reference, name in {"a1": "A", "a2": "A", "b": "B"}.items():
        await harness.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    refused = Pause(why="refused", purpose="allocate", refused="a1", strategy="service_group A")
    await harness.ledger.pause("acme", refused, "digest")
    assert await claim_probe(harness) == "b"
