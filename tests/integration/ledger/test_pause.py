"""A paused merchant: what is told of it, how it is probed, and how it goes on."""

from itertools import pairwise

import pytest

from tasks.work.ports import Pause
from tests.factories.ledger_harness import Harness, new, references, step
from worker.streams.orders import GROUP

FIRST_S, MAX_S = 30, 600


async def parked(harness: Harness, *references: str) -> None:
    """Shipments of a merchant that wait for ten minutes, in this order."""
    for number, reference in enumerate(references):
        claim = await harness.claim("acme", reference)
        await harness.report(claim, "park", due=harness.ledger.now() + 600 + number)


async def due_in_s(harness: Harness) -> float:
    """In how many seconds the next probe is due."""
    paused = (await harness.ledger.paused())["acme"]
    return float(paused["probe_at"]) / 1000 - harness.ledger.now()


async def probed(harness: Harness) -> str:
    """Who is the next probe, as soon as it is time for one."""
    await harness.make_probe_due("acme")
    return await harness.ledger.probe("acme")


async def test_a_pause_is_told(harness: Harness) -> None:
    """Whoever takes shipments of a paused merchant learns why, and what was refused; a second pause is none."""
    assert await harness.ledger.pause("acme", Pause(why="the key is refused", purpose="read"), "digest")
    assert not await harness.ledger.pause("acme", Pause(why="again", purpose="allocate"), "digest")
    claim = await harness.claim("acme", "a")
    assert claim.paused == Pause(why="the key is refused", purpose="read")
    assert claim.probe == ""
    paused = (await harness.ledger.paused())["acme"]
    assert (paused["why"], paused["digest"]) == ("the key is refused", "digest")
    assert paused["since"] == pytest.approx(harness.ledger.now(), abs=2)


async def test_other_merchants_are_not_paused(harness: Harness) -> None:
    """A pause concerns one merchant."""
    await harness.pause("acme")
    assert (await harness.claim("other", "a")).paused is None


async def test_a_resume_ends_it(harness: Harness) -> None:
    """What was parked is due, and nothing is paused any more."""
    await harness.pause("acme")
    await parked(harness, "a")
    assert await harness.claim_all() == []
    assert await harness.ledger.resume("acme") == 1
    (batch,) = await harness.claim_all()
    assert batch.paused is None
    assert await harness.ledger.paused() == {}


async def test_a_resume_frees_everything(harness: Harness) -> None:
    """However much a merchant has parked, a resume makes all of it due."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(2500)))
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    assert await harness.ledger.resume("acme") == 2500
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 200


async def test_after_a_pause_one_call_is_tried(harness: Harness) -> None:
    """The window begins at one shipment at work, and grows with every good answer."""
    await harness.pause("acme")
    await harness.accept("acme", *(f"sp_{n}" for n in range(20)))
    await harness.ledger.resume("acme")
    at_work = []
    for _ in range(4):
        (batch,) = await harness.claim_all()
        at_work.append(len(batch.shipments))
        await harness.report(batch, "allocated", event="{}", api="api", signal="good")
    assert at_work == [1, 2, 4, 8]


async def test_who_was_not_paused_keeps_its_window(harness: Harness) -> None:
    """To make parked shipments due is no reason to begin anew."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(20)))
    await harness.ledger.resume("acme")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 20


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(0, FIRST_S), (5, FIRST_S), (300, 300), (9999, MAX_S)])
async def test_the_first_probe(harness: Harness, retry_after_s: float, waits_s: float) -> None:
    """A merchant is probed half a minute after it was paused, and never before the API asked, up to ten minutes."""
    await harness.pause("acme", retry_after_s=retry_after_s)
    await parked(harness, "a")
    assert await harness.ledger.probe("acme") == ""
    assert await due_in_s(harness) == pytest.approx(waits_s, abs=3)
    assert await harness.claim_all() == []


async def test_a_probe_is_due_and_named(harness: Harness) -> None:
    """The probe is handed out, and who takes it learns that it is the probe; the others stay where they are."""
    await harness.pause("acme")
    await parked(harness, "a", "b", "c")
    name = await probed(harness)
    (claim,) = await harness.claim_all()
    assert (references(claim), claim.probe) == ([name], name)
    assert claim.paused is not None


async def test_one_probe_at_a_time(harness: Harness) -> None:
    """Another probe follows only when the one before was refused, or was lost for two leases."""
    await harness.pause("acme")
    await parked(harness, "a", "b")
    assert await probed(harness) != ""
    assert await harness.ledger.probe("acme") == ""
    assert await due_in_s(harness) == pytest.approx(2 * harness.settings.lease_seconds, abs=3)


async def test_pauses_double_to_ten_minutes(harness: Harness) -> None:
    """Each refused probe makes the pause twice as long; a refusal of another shipment, or of an old probe, does not."""
    await harness.pause("acme")
    await parked(harness, "a", "b")
    waits = []
    for _ in range(6):
        name = await probed(harness)
        assert not await harness.pause("acme", probe="somebody else")
        assert not await harness.pause("acme", probe=name)
        waits.append(round(await due_in_s(harness)))
        assert not await harness.pause("acme", probe=name)
        assert round(await due_in_s(harness)) == pytest.approx(waits[-1], abs=1)
    assert waits == pytest.approx([60, 120, 240, 480, 600, 600], abs=2)


async def test_a_refused_probe_may_say_how_long(harness: Harness) -> None:
    """The next probe is not made before a Retry-After of the last one."""
    await harness.pause("acme")
    await parked(harness, "a")
    await harness.pause("acme", probe=await probed(harness), retry_after_s=500)
    assert await due_in_s(harness) == pytest.approx(500, abs=3)


@pytest.mark.parametrize("count", [2, 3, 49, 50, 51, 120])
async def test_another_shipment_each_time(harness: Harness, count: int) -> None:
    """A probe is not the shipment that was tried last, however many wait."""
    await harness.pause("acme")
    await harness.accept("acme", *(f"sp_{n}" for n in range(count)))
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    names = []
    for _ in range(8):
        names.append(await probed(harness))
        await harness.raw.zadd("allocation:schedule:acme", {names[-1]: (harness.ledger.now() + 700) * 1000})
        await harness.pause("acme", probe=names[-1])
    assert all(before != after for before, after in pairwise(names))
    assert "" not in names


async def test_another_step_each_time(harness: Harness) -> None:
    """A probe stands at another step than the last one, if one does: the 403 may have been one step's."""
    await harness.pause("acme")
    steps = {f"a{n}": "A" for n in range(10)} | {f"b{n}": "B" for n in range(3)}
    for reference, name in steps.items():
        await harness.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    tried = []
    for _ in range(4):
        name = await probed(harness)
        tried.append(steps[name])
        await harness.pause("acme", probe=name)
    assert sorted(tried) == ["A", "A", "B", "B"]
    assert tried in (["A", "B", "A", "B"], ["B", "A", "B", "A"])


async def test_the_only_shipment_is_tried_again(harness: Harness) -> None:
    """Where only one waits it is the probe every time; where none does there is no probe."""
    await harness.pause("acme")
    await harness.pause("other")
    await parked(harness, "a")
    for _ in range(2):
        assert await probed(harness) == "a"
        await harness.pause("acme", probe="a")
    await harness.make_probe_due("other")
    assert await harness.ledger.probe("other") == ""


async def test_a_missing_key_is_not_probed(harness: Harness) -> None:
    """Without a key or a file there is nothing to try; nor is there for a merchant who is not paused."""
    await harness.pause("acme", purpose="")
    await parked(harness, "a")
    assert await probed(harness) == ""
    assert await harness.ledger.probe("other") == ""


async def test_who_was_refused_does_not_try_first(harness: Harness) -> None:
    """The first probe is another shipment than the one that was refused, and at another step if there is one."""
    for reference, name in {"a1": "A", "a2": "A", "b": "B"}.items():
        await harness.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await harness.make_due("acme", (harness.ledger.now() + 600) * 1000)
    refused = Pause(why="refused", purpose="allocate", refused="a1", strategy="service_group A")
    await harness.ledger.pause("acme", refused, "digest")
    assert await probed(harness) == "b"
