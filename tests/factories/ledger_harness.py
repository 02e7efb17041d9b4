"""A ledger on a real server, with short methods for what intake and workers do."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

from config.settings import Settings
from config.strategies.catalogue import STRATEGIES, AnyStrategy
from tasks.rules.order import Order
from tasks.rules.order_event import OrderData, OrderShipment
from tasks.rules.outcome import Feedback, Purpose
from tasks.rules.plan import Facts, Plan
from tasks.rules.shipment import Shipment, intake_record
from tasks.rules.unreadable import stand_in
from tasks.work.ports import Claim, Pause, Permit, PermitRequest, Report, Verdict
from worker.ledger.ledger import Ledger
from worker.ledger.records import server_ms
from worker.ledger.rows import Accepted
from worker.redis_client.store import PREFIX, Redis, Store, connect
from worker.streams.orders import GROUP

_BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}


def step(name: str, argument: Any) -> AnyStrategy:
    """A strategy as a merchant file names it."""
    return _BY_NAME[name].model_validate({name: argument})


STEPS = (step("virtual_service", "FIRST"), step("carrier_service", "SECOND"), step("service_group", "THIRD"))


def new(merchant: str, *references: str, steps: tuple[AnyStrategy, ...] = STEPS) -> list[Accepted]:
    """Shipments as intake passes them to the ledger, each in a separate order."""
    return [_accepted(merchant, reference, steps) for reference in references]


def _accepted(merchant: str, reference: str, steps: tuple[AnyStrategy, ...]) -> Accepted:
    data = OrderData(merchant=merchant, order=f"order-{reference}", shipments=(OrderShipment(reference=reference),))
    order = Order(event_id=f"evt-{reference}", published=None, data=data)
    plan = Plan(rule="default", why="the file has no rules", steps=steps)
    facts = intake_record(order, Facts(), plan, "shipments-v2", "0123456789ab")
    return Accepted(merchant=merchant, reference=reference, intake=facts, strategy=str(steps[0]), published=None)


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Poll until the condition holds.

    Raises TimeoutError when it does not.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # the condition has no event to wait for
            await asyncio.sleep(0.002)


def references(claim: Claim) -> list[str]:
    """References of the claimed shipments, in the order in which they were due."""
    return [held.reference for held in claim.shipments]


def is_isolated(claim: Claim) -> bool:
    """Whether the claim isolates its shipment."""
    return claim.lease_token.endswith(".a")


class Harness:
    """A ledger with its own connection; several of them share the server."""

    def __init__(self, settings: Settings, *, admits: bool = False) -> None:
        """Connects with the first command. `raw` is the same client without types, for reading keys directly.

        `admits`: whether a claim permits first calls; otherwise tests request each permit.
        """
        self.settings = settings
        self.redis: Redis = connect(settings)
        self.raw: Any = self.redis
        self.store = Store(self.redis)
        self.ledger = Ledger(self.store, settings)
        if not admits:
            self.ledger._first_calls = ","

    async def close(self) -> None:
        """Disconnect."""
        await self.redis.aclose()

    async def accept(self, merchant: str, *references: str) -> int:
        """Accept shipments; returns the number of new ones."""
        fresh, _ = await self.ledger.accept(new(merchant, *references), [], [], GROUP)
        return fresh

    async def claim_due(self, most: int = 1000) -> list[Claim]:
        """Claim once, as a child that owns nothing; if a shipment must be isolated, claim that one too."""
        due = await self.ledger.claim(most, is_empty=True)
        claims = [*due.claims]
        if due.isolate_next:
            claims += (await self.ledger.claim(1, is_empty=True, isolated=due.isolate_next)).claims
        return claims

    async def claim_all(self, most: int = 1000) -> list[Claim]:
        """Claim until nothing is due."""
        found: list[Claim] = []
        while claim := await self.claim_due(most):
            found += claim
        return found

    async def claim(self, merchant: str, *references: str) -> Claim:
        """Accept shipments and claim them."""
        await self.accept(merchant, *references)
        (claim,) = [each for each in await self.claim_due() if each.merchant == merchant]
        return claim

    async def permit(self, held: Shipment, lease_token: str, **rest: Any) -> Permit:
        """Request a permit for a shipment."""
        return await self.ledger.permit(
            PermitRequest(shipment=held, lease_token=lease_token, **{"purpose": "allocate", **rest})
        )

    async def report(self, claim: Claim, verdict: Verdict, **rest: Any) -> list[bool]:
        """Report the same verdict for every shipment of a claim."""
        return await self.report_of(claim.shipments, claim.lease_token, verdict, **rest)

    async def report_of(self, held: Iterable[Shipment], lease_token: str, verdict: Verdict, **rest: Any) -> list[bool]:
        """Report the same verdict for some shipments. `signal`, `purpose`, `retry_after_s`: the feedback, if any."""
        given = {name: rest.pop(name) for name in Feedback._fields if name in rest}
        feedback = Feedback(**{"purpose": "allocate", **given}) if given else None
        reports = [
            Report(shipment=one, lease_token=lease_token, verdict=verdict, feedback=feedback, **rest) for one in held
        ]
        return await asyncio.gather(*(self.ledger.report(report) for report in reports))

    async def park_unreadable(self, claim: Claim) -> None:
        """Park shipments with unreadable records, as a worker does."""
        assert await self.report_of(map(stand_in, claim.unreadable), claim.lease_token, "park") != []

    async def settle(self, found: Iterable[Claim]) -> None:
        """Report every claimed shipment as allocated."""
        for claim in found:
            await self.report(claim, "allocated", event="{}")

    async def pause(
        self, merchant: str, purpose: Purpose | Literal[""] = "allocate", retry_after_s: float = 0.0, probe: str = ""
    ) -> bool:
        """Pause a merchant, or report that its probe was refused too."""
        pause = Pause(why="the key is refused", purpose=purpose, retry_after_s=retry_after_s)
        return await self.ledger.pause(merchant, pause, "digest", probe)

    async def make_probe_due(self, merchant: str) -> None:
        """Make the next probe of a paused merchant due."""
        paused = (await self.ledger.paused())[merchant]
        await self.raw.hset(f"{PREFIX}paused", merchant, json.dumps({**paused, "probe_at": 0}))

    async def simulate_server_change(self) -> None:
        """Make the ledger detect a different server, and record the change."""
        await self.ledger.watch_clock()
        await self.next_millisecond()
        await self.raw.hset(f"{PREFIX}server", "run_id", "another")
        await self.ledger.watch_clock()

    async def next_millisecond(self) -> None:
        """Return in a later millisecond of the server's clock than at the start."""
        began = await server_ms(self.redis)
        while await server_ms(self.redis) == began:
            pass

    async def expire_leases(self, merchant: str, score: float = 1) -> None:
        """Let the leases of a merchant's shipments expire at millisecond `score`, long ago."""
        await self._rescore("working", merchant, score)

    async def make_due(self, merchant: str, score: float = 1) -> None:
        """Make a merchant's scheduled shipments due at millisecond `score`, long ago."""
        await self._rescore("schedule", merchant, score)

    async def _rescore(self, kind: str, merchant: str, score: float) -> None:
        key = f"{PREFIX}{kind}:{merchant}"
        if references := await self.raw.zrange(key, 0, -1):
            await self.raw.zadd(key, dict.fromkeys(references, score))
        await self.make_merchant_due(merchant, score)

    async def make_merchant_due(self, merchant: str, score: float = 1) -> None:
        """Make a merchant's next turn due at millisecond `score`, long ago."""
        await self.raw.zadd(f"{PREFIX}merchant_queue", {merchant: score})

    async def phase(self, merchant: str, reference: str) -> str:
        """The letter before a shipment's token: q, r or c; '' without a token."""
        token = await self.field(f"lease_tokens:{merchant}", reference)
        return token.partition(":")[0]

    async def lease_token_of(self, merchant: str, reference: str) -> str:
        """The lease token under which a shipment is owned."""
        return (await self.field(f"lease_tokens:{merchant}", reference)).split(":")[1]

    async def schedule(self, merchant: str) -> list[Any]:
        """The serialized schedule, leases and lease tokens of a merchant."""
        keys = [f"{PREFIX}{kind}:{merchant}" for kind in ("schedule", "working", "lease_tokens")]
        return [await self.raw.dump(key) for key in keys]

    async def field(self, key: str, name: str) -> str:
        """A field of one of the ledger's hashes; '' when missing."""
        return (await self.raw.hget(f"{PREFIX}{key}", name) or b"").decode()

    async def dump(self) -> dict[bytes, bytes]:
        """Every key of the server, serialized."""
        return {key: await self.raw.dump(key) for key in await self.raw.keys("*")}
