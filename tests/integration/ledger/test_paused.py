"""A paused merchant: what is told of it, how it is probed, and how it goes on."""

from itertools import pairwise

import pytest

from tasks.work.ports import Pause
from tests.factories.ledger_harness import Bench, new, references, step
from worker.streams.orders import GROUP

FIRST_S, MAX_S = 30, 600


async def parked(bench: Bench, *references: str) -> None:
    """Shipments of a merchant that wait for ten minutes, in this order."""
    for number, reference in enumerate(references):
        claim = await bench.take("acme", reference)
        await bench.report(claim, "park", due=bench.ledger.now() + 600 + number)


async def due_in_s(bench: Bench) -> float:
    """In how many seconds the next probe is due."""
    paused = (await bench.ledger.paused())["acme"]
    return float(paused["probe_at"]) / 1000 - bench.ledger.now()


async def probed(bench: Bench) -> str:
    """Who is the next probe, as soon as it is time for one."""
    await bench.probe_is_due("acme")
    return await bench.ledger.probe("acme")


async def test_a_pause_is_told(bench: Bench) -> None:
    """Whoever takes shipments of a paused merchant learns why, and what was refused; a second pause is none."""
    assert await bench.ledger.pause("acme", Pause(why="the key is refused", purpose="read"), "digest")
    assert not await bench.ledger.pause("acme", Pause(why="again", purpose="allocate"), "digest")
    claim = await bench.take("acme", "a")
    assert claim.paused == Pause(why="the key is refused", purpose="read")
    assert claim.probe == ""
    paused = (await bench.ledger.paused())["acme"]
    assert (paused["why"], paused["digest"]) == ("the key is refused", "digest")
    assert paused["since"] == pytest.approx(bench.ledger.now(), abs=2)


async def test_other_merchants_are_not_paused(bench: Bench) -> None:
    """A pause concerns one merchant."""
    await bench.pause("acme")
    assert (await bench.take("other", "a")).paused is None


async def test_a_resume_ends_it(bench: Bench) -> None:
    """What was parked is due, and nothing is paused any more."""
    await bench.pause("acme")
    await parked(bench, "a")
    assert await bench.take_all() == []
    assert await bench.ledger.resume("acme") == 1
    (batch,) = await bench.take_all()
    assert batch.paused is None
    assert await bench.ledger.paused() == {}


async def test_a_resume_frees_everything(bench: Bench) -> None:
    """However much a merchant has parked, a resume makes all of it due."""
    await bench.accept("acme", *(f"sp_{n}" for n in range(2500)))
    await bench.end_waits("acme", (bench.ledger.now() + 600) * 1000)
    assert await bench.ledger.resume("acme") == 2500
    assert sum(len(batch.shipments) for batch in await bench.take_all()) == 200


async def test_after_a_pause_one_call_is_tried(bench: Bench) -> None:
    """The window begins at one shipment at work, and grows with every good answer."""
    await bench.pause("acme")
    await bench.accept("acme", *(f"sp_{n}" for n in range(20)))
    await bench.ledger.resume("acme")
    at_work = []
    for _ in range(4):
        (batch,) = await bench.take_all()
        at_work.append(len(batch.shipments))
        await bench.report(batch, "allocated", event="{}", api="api", answer="good")
    assert at_work == [1, 2, 4, 8]


async def test_who_was_not_paused_keeps_its_window(bench: Bench) -> None:
    """To make parked shipments due is no reason to begin anew."""
    await bench.accept("acme", *(f"sp_{n}" for n in range(20)))
    await bench.ledger.resume("acme")
    assert sum(len(batch.shipments) for batch in await bench.take_all()) == 20


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(0, FIRST_S), (5, FIRST_S), (300, 300), (9999, MAX_S)])
async def test_the_first_probe(bench: Bench, retry_after_s: float, waits_s: float) -> None:
    """A merchant is probed half a minute after it was paused, and never before the API asked, up to ten minutes."""
    await bench.pause("acme", retry_after_s=retry_after_s)
    await parked(bench, "a")
    assert await bench.ledger.probe("acme") == ""
    assert await due_in_s(bench) == pytest.approx(waits_s, abs=3)
    assert await bench.take_all() == []


async def test_a_probe_is_due_and_named(bench: Bench) -> None:
    """The probe is handed out, and who takes it learns that it is the probe; the others stay where they are."""
    await bench.pause("acme")
    await parked(bench, "a", "b", "c")
    name = await probed(bench)
    (claim,) = await bench.take_all()
    assert (references(claim), claim.probe) == ([name], name)
    assert claim.paused is not None


async def test_one_probe_at_a_time(bench: Bench) -> None:
    """Another probe follows only when the one before was refused, or was lost for two leases."""
    await bench.pause("acme")
    await parked(bench, "a", "b")
    assert await probed(bench) != ""
    assert await bench.ledger.probe("acme") == ""
    assert await due_in_s(bench) == pytest.approx(2 * bench.settings.lease_seconds, abs=3)


async def test_pauses_double_to_ten_minutes(bench: Bench) -> None:
    """Each refused probe makes the pause twice as long; a refusal of another shipment, or of an old probe, does not."""
    await bench.pause("acme")
    await parked(bench, "a", "b")
    waits = []
    for _ in range(6):
        name = await probed(bench)
        assert not await bench.pause("acme", probe="somebody else")
        assert not await bench.pause("acme", probe=name)
        waits.append(round(await due_in_s(bench)))
        assert not await bench.pause("acme", probe=name)
        assert round(await due_in_s(bench)) == pytest.approx(waits[-1], abs=1)
    assert waits == pytest.approx([60, 120, 240, 480, 600, 600], abs=2)


async def test_a_refused_probe_may_say_how_long(bench: Bench) -> None:
    """The next probe is not made before a Retry-After of the last one."""
    await bench.pause("acme")
    await parked(bench, "a")
    await bench.pause("acme", probe=await probed(bench), retry_after_s=500)
    assert await due_in_s(bench) == pytest.approx(500, abs=3)


@pytest.mark.parametrize("count", [2, 3, 49, 50, 51, 120])
async def test_another_shipment_each_time(bench: Bench, count: int) -> None:
    """A probe is not the shipment that was tried last, however many wait."""
    await bench.pause("acme")
    await bench.accept("acme", *(f"sp_{n}" for n in range(count)))
    await bench.end_waits("acme", (bench.ledger.now() + 600) * 1000)
    names = []
    for _ in range(8):
        names.append(await probed(bench))
        await bench.raw.zadd("allocation:waiting:acme", {names[-1]: (bench.ledger.now() + 700) * 1000})
        await bench.pause("acme", probe=names[-1])
    assert all(before != after for before, after in pairwise(names))
    assert "" not in names


async def test_another_step_each_time(bench: Bench) -> None:
    """A probe stands at another step than the last one, if one does: the 403 may have been one step's."""
    await bench.pause("acme")
    steps = {f"a{n}": "A" for n in range(10)} | {f"b{n}": "B" for n in range(3)}
    for reference, name in steps.items():
        await bench.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await bench.end_waits("acme", (bench.ledger.now() + 600) * 1000)
    tried = []
    for _ in range(4):
        name = await probed(bench)
        tried.append(steps[name])
        await bench.pause("acme", probe=name)
    assert sorted(tried) == ["A", "A", "B", "B"]
    assert tried in (["A", "B", "A", "B"], ["B", "A", "B", "A"])


async def test_the_only_shipment_is_tried_again(bench: Bench) -> None:
    """Where only one waits it is the probe every time; where none does there is no probe."""
    await bench.pause("acme")
    await bench.pause("other")
    await parked(bench, "a")
    for _ in range(2):
        assert await probed(bench) == "a"
        await bench.pause("acme", probe="a")
    await bench.probe_is_due("other")
    assert await bench.ledger.probe("other") == ""


async def test_a_missing_key_is_not_probed(bench: Bench) -> None:
    """Without a key or a file there is nothing to try; nor is there for a merchant who is not paused."""
    await bench.pause("acme", purpose="")
    await parked(bench, "a")
    assert await probed(bench) == ""
    assert await bench.ledger.probe("other") == ""


async def test_who_was_refused_does_not_try_first(bench: Bench) -> None:
    """The first probe is another shipment than the one that was refused, and at another step if there is one."""
    for reference, name in {"a1": "A", "a2": "A", "b": "B"}.items():
        await bench.ledger.accept(new("acme", reference, steps=(step("service_group", name),)), [], [], GROUP)
    await bench.end_waits("acme", (bench.ledger.now() + 600) * 1000)
    refused = Pause(why="refused", purpose="allocate", refused="a1", asks="service_group A")
    await bench.ledger.pause("acme", refused, "digest")
    assert await probed(bench) == "b"
