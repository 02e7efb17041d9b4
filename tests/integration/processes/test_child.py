"""The runtime of a worker child, with a real ledger and an API on bare sockets, but without Celery's processes."""

import asyncio

import pytest
from celery import Celery

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.work.messages import CLAIMING, IN_PROGRESS, MERCHANTS, NOT_OWNED, FellBack, Link, LinkClaim, parse_link
from tests.factories.ledger_harness import Harness, until
from tests.factories.queues import drain_links
from tests.factories.raw_api import KEY, Request, hangs, listening, response
from tests.factories.worker_child import FILE, allocates_after, none_in_flight, serve, write_merchant_file
from worker.lab.embedded_server import free_port
from worker.processes import child as child_module
from worker.processes import in_flight
from worker.processes.batches import ELSEWHERE_WAIT_S
from worker.processes.child import ChildRuntime
from worker.processes.siblings import Siblings

REFUSED = response(
    521, b'{"code": "allocation_failed", "message": "no carrier accepts it"}', "content-type: application/json"
)


async def refuses(_: Request, writer: asyncio.StreamWriter) -> None:
    """Handler that refuses every allocation."""
    writer.write(REFUSED)


async def allocated(harness: Harness) -> int:
    """Number of published allocated events."""
    return int(await harness.raw.xlen(harness.settings.allocated_stream))


async def chains_sent(child: ChildRuntime) -> None:
    """Wait until fallback chains have been sent."""
    await until(lambda: child._fallbacks._sending is not None and child._fallbacks._sending.done())


async def test_the_result_of_a_task(child: ChildRuntime, harness: Harness) -> None:
    """It claims the due shipments of all merchants, and counts how they left."""
    async with listening() as api:
        for merchant in ("acme", "other"):
            write_merchant_file(harness.settings, api.url, merchant=merchant)
            await harness.accept(merchant, "a", "b")
        assert (await serve(child)).counts == {"allocated": 4, IN_PROGRESS: 0, MERCHANTS: 2}
    assert await allocated(harness) == 4


async def test_settled_shipments_make_room(child: ChildRuntime, harness: Harness) -> None:
    """With a limit on calls in flight, more shipments are claimed once the first are settled, without a sweep."""
    async with listening() as api:
        write_merchant_file(harness.settings, api.url, in_flight=5)
        await harness.ledger.set_limits("acme", 5, 0)
        await harness.accept("acme", *(f"sp_{n}" for n in range(20)))
        async with asyncio.timeout(20):
            while len(api.requests) < 20:
                await serve(child)
    assert await allocated(harness) == 20


async def test_shipments_that_become_due(child: ChildRuntime, harness: Harness) -> None:
    """A claim loop is woken by shipments that become due, also while it has calls in flight."""
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a")
        loop = asyncio.create_task(serve(child))
        await until(lambda: len(api.requests) == 1)
        await harness.accept("acme", "b")
        await until(lambda: len(api.requests) == 2)
        may_respond.set()
        await loop
        await none_in_flight(child)
    assert await allocated(harness) == 2


async def test_a_start_message_while_the_claim_loop_ends(child: ChildRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that gets a start message while its claim loop ends starts it again."""
    notify_due, results = child._dispatcher.notify_due, []

    async def starts_the_loop_again(*, leaving: bool = False) -> int:
        found = await notify_due(leaving=leaving)
        results.append(found)
        if len(results) == 1:
            child._claim_loop.start()
        return found

    monkeypatch.setattr(child._dispatcher, "notify_due", starts_the_loop_again)
    await serve(child)
    assert results == [0, 0]


async def test_a_merchant_without_a_file(child: ChildRuntime, harness: Harness) -> None:
    """Shipments of a merchant without a file are parked, and worked on once the file exists."""
    await harness.accept("acme", "a")
    assert (await serve(child)).counts == {"parked": 1, IN_PROGRESS: 0, MERCHANTS: 1}
    assert (await harness.ledger.paused())["acme"]["why"] == "it has no valid merchant file"
    assert await harness.claim_all() == []
    async with listening() as api:
        write_merchant_file(harness.settings, api.url)
        child._merchants._looked_at = float("-inf")
        assert (await asyncio.to_thread(child.sweep))["resumed"] == ["acme"]
        await serve(child)
    assert await allocated(harness) == 1


async def test_a_machine_without_a_file(child: ChildRuntime, harness: Harness) -> None:
    """If another machine has the file that this one lacks, the merchant is not paused again and again."""
    await harness.accept("acme", "a")
    await serve(child)
    assert "acme" in await harness.ledger.paused()
    assert await harness.ledger.resumed_as("acme", "the digest of another machine's file")
    await harness.ledger.resume("acme")
    await serve(child)
    assert await harness.ledger.paused() == {}
    assert await harness.claim_all() == []
    due = await harness.raw.zscore("allocation:schedule:acme", "a")
    assert due is not None
    assert 0 < due / 1000 - harness.ledger.now() <= ELSEWHERE_WAIT_S


async def test_a_merchant_without_a_key(child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipments of a merchant without a key are parked without a call, and worked on once the key exists."""
    monkeypatch.delenv("CHILD_KEY")
    async with listening() as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a", "b")
        await serve(child)
        assert api.requests == []
        assert "acme" in await harness.ledger.paused()
        monkeypatch.setenv("CHILD_KEY", KEY)
        await asyncio.to_thread(child.sweep)
        await serve(child)
    assert await allocated(harness) == 2


async def test_a_slow_api_does_not_block_a_child(child: ChildRuntime, harness: Harness) -> None:
    """A task returns while its call is in flight; the response settles the shipment later."""
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a")
        assert (await serve(child)).counts == {IN_PROGRESS: 1, MERCHANTS: 1}
        await until(lambda: bool(api.requests))
        assert await harness.phase("acme", "a") == "c"
        may_respond.set()
        await none_in_flight(child)
    assert await allocated(harness) == 1


async def test_the_last_free_child_is_kept_free(child: ChildRuntime, harness: Harness) -> None:
    """A task waits for its work only while another child is free; otherwise it returns and the work continues."""
    children = child._children
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a")
        children._shared[2:5] = b"\x01\x01\x01"
        assert (await serve(child)).counts[CLAIMING]
        await until(lambda: bool(api.requests))
        may_respond.set()
        await none_in_flight(child)
    assert await allocated(harness) == 1


async def test_a_full_child_claims_no_more(
    child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child with the maximum of young shipments claims more once some have ended, or are no longer young."""
    monkeypatch.setattr(in_flight, "MAX_YOUNG", 101)
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        for merchant in ("acme", "other"):
            (harness.settings.merchants_dir / f"{merchant}.toml").write_text(FILE.format(url=api.url, in_flight=0))
        await harness.accept("acme", "a", "b")
        loop = asyncio.create_task(serve(child))
        await until(lambda: len(api.requests) == 2)
        await harness.accept("other", "c")
        monkeypatch.setattr(in_flight, "YOUNG_S", 0.0)
        await until(lambda: len(api.requests) == 3)
        may_respond.set()
        await loop
        await none_in_flight(child)
    assert await allocated(harness) == 3


async def test_a_child_that_shuts_down(app: Celery, settings: Settings, harness: Harness) -> None:
    """At shutdown, shipments with a slow call are requeued: due at once, and read back first."""
    child = ChildRuntime(app, settings, Siblings(4))
    async with listening(hangs) as api:
        write_merchant_file(settings, api.url)
        await harness.accept("acme", "a")
        await serve(child)
        await until(lambda: bool(api.requests))
        await asyncio.to_thread(child.stop)
    (claim,) = await harness.claim_all()
    (shipment,) = claim.shipments
    assert (shipment.progress.open_kind, shipment.progress.attempts, shipment.losses) == ("unknown", 1, 0)
    assert await harness.field("shipment:acme:a", "group_losses") == ""


async def test_an_unreachable_api(child: ChildRuntime, harness: Harness) -> None:
    """A shipment that could not be sent is parked, and the child sets a timer for its due time."""
    write_merchant_file(harness.settings, f"http://127.0.0.1:{free_port()}")
    await harness.accept("acme", "a")
    await serve(child)
    await none_in_flight(child)
    assert await harness.phase("acme", "a") == ""
    assert child._timer.is_set


async def test_shipments_that_fall_back_together_share_a_chain(
    app: Celery, child: ChildRuntime, harness: Harness
) -> None:
    """Shipments of several merchants that fall back together share one message, each with its lease token."""
    async with listening(refuses) as api:
        for merchant in ("acme", "other"):
            write_merchant_file(harness.settings, api.url, merchant=merchant)
            await harness.accept(merchant, "a", "b")
        assert (await serve(child)).counts == {"fell_back": 4, IN_PROGRESS: 0, MERCHANTS: 2}
        await chains_sent(child)
    (message,) = await asyncio.to_thread(drain_links, app, BATCHES)
    link = parse_link(message)
    assert sorted((each.merchant, each.step, sorted(each.references)) for each in link.claims) == [
        ("acme", 1, ["a", "b"]),
        ("other", 1, ["a", "b"]),
    ]


async def test_a_link_passes_on_further_fallbacks(child: ChildRuntime, harness: Harness) -> None:
    """A link works on the shipments it owns; those that fall back in time go to the next link of its chain."""
    async with listening(refuses) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a")
        await serve(child)
        await chains_sent(child)
        link = Link(claims=(LinkClaim(await harness.lease_token_of("acme", "a"), "acme", 1, ("a",)),))
        worked, again = [await asyncio.to_thread(child.follow, link) for _ in range(2)]
    assert worked is not None
    assert again is not None
    assert [type(each) for each in worked.fell_back] == [FellBack]
    assert [each.shipment.progress.step for each in worked.fell_back] == [2]
    assert worked.counts == {"fell_back": 1, IN_PROGRESS: 0, MERCHANTS: 1}
    assert (again.counts, again.fell_back) == ({IN_PROGRESS: 0, NOT_OWNED: 1, MERCHANTS: 0}, [])


async def test_a_last_link_counts_failed_shipments(child: ChildRuntime, harness: Harness) -> None:
    """The result of a link whose shipments are all refused at their last step says that they failed."""
    async with listening(refuses) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a", "b")
        await serve(child)
        await chains_sent(child)
        for step in (1, 2):
            token = await harness.lease_token_of("acme", "a")
            link = Link(claims=(LinkClaim(token, "acme", step, ("a", "b")),))
            worked = await asyncio.to_thread(child.follow, link)
    assert worked is not None
    assert worked.counts == {"failed": 2, IN_PROGRESS: 0, MERCHANTS: 1}


async def test_a_link_counts_its_own_shipments(
    child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of a link leaves out what else its child works on, and a claim loop leaves out what links do."""
    monkeypatch.setattr(child_module, "PATIENCE_S", 0.05)
    may_respond = asyncio.Event()

    async def refuses_the_first(request: Request, writer: asyncio.StreamWriter) -> None:
        if "sp_a" not in request.target or "FIRST" not in request.target:
            await may_respond.wait()
        await refuses(request, writer)

    async with listening(refuses_the_first) as api:
        for merchant in ("acme", "other"):
            write_merchant_file(harness.settings, api.url, merchant=merchant)
            await harness.accept(merchant, "sp_a" if merchant == "acme" else "sp_b")
        assert (await serve(child)).counts == {"fell_back": 1, IN_PROGRESS: 1, MERCHANTS: 2}
        await chains_sent(child)
        link = Link(claims=(LinkClaim(await harness.lease_token_of("acme", "sp_a"), "acme", 1, ("sp_a",)),))
        worked = await asyncio.to_thread(child.follow, link)
        assert worked is not None
        assert worked.counts == {IN_PROGRESS: 1, MERCHANTS: 1}
        assert (await serve(child)).counts == {IN_PROGRESS: 1, MERCHANTS: 1}
        may_respond.set()
        await none_in_flight(child)


async def test_a_slow_link(app: Celery, child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link does not wait for a slow API; shipments that fall back later start a chain of their own."""
    monkeypatch.setattr(child_module, "PATIENCE_S", 0.05)
    may_respond = asyncio.Event()

    async def refuses_the_second_late(request: Request, writer: asyncio.StreamWriter) -> None:
        if "FIRST" not in request.target:
            await may_respond.wait()
        await refuses(request, writer)

    async with listening(refuses_the_second_late) as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "a")
        await serve(child)
        await chains_sent(child)
        link = Link(claims=(LinkClaim(await harness.lease_token_of("acme", "a"), "acme", 1, ("a",)),))
        worked = await asyncio.to_thread(child.follow, link)
        assert worked is not None
        assert (worked.counts, worked.fell_back) == ({IN_PROGRESS: 1, MERCHANTS: 1}, [])
        await asyncio.to_thread(drain_links, app, BATCHES)
        may_respond.set()
        await none_in_flight(child)
        await chains_sent(child)
    (message,) = await asyncio.to_thread(drain_links, app, BATCHES)
    assert [each.step for each in parse_link(message).claims] == [2]
