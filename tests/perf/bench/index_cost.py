"""What the indexes for operators cost: memory, and the server's time and commands when orders are accepted."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from config.settings import Settings
from tasks.rules.portions import portions
from tests.perf.bench.filled_ledger import Content, Filler, order_text
from tests.perf.bench.rig import BenchError
from worker.ledger import keys
from worker.ledger.ledger import Ledger
from worker.ledger.scripts import ACCEPT
from worker.redis_client.store import PREFIX, Redis, Script, Store
from worker.streams.orders import Entry

_INDEX_CODE = re.compile(
    r"^-- Finds shipments by .*?(?=^for _ = 1)|^ *index_order\(merchant, .*?\n|^write_index\(\)\n",
    re.MULTILINE | re.DOTALL,
)
_PARTS_OF_THE_INDEX = 3
_NOT_NESTED = ("evalsha", "script|load", "config|resetstat", "info")
_ROUNDS = 4
"""How often each of two scripts has its turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What the server needs, in bytes. `whole`: of everything, its streams included, for one settled shipment.

    `index`: of the index for one order of one shipment; `merchant_file`: of a stored file; `lists`: of all sets of
    shipments in their quiet time or near their deadline and of the logged problems.
    """

    shipments: int
    whole: float
    index: float
    merchant_file: float
    lists: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptCost:
    """The accept script for one order, with the index and without: the server's time in µs, and commands.

    `at_once`: the orders of one script.
    """

    at_once: int
    orders: int
    with_us: float
    without_us: float
    with_commands: float
    without_commands: float


class Spent(NamedTuple):
    """The server's time for scripts in µs, and the commands within them."""

    us: float
    commands: float


def without_index(text: str) -> str:
    """The accept script without the lines that write the index. Raises BenchError if it has none."""
    found, removed = _INDEX_CODE.subn("", text)
    if removed != _PARTS_OF_THE_INDEX or "index_order" in found:
        raise BenchError("accept.lua writes its index in another way than this measurement knows")
    return found


class _AcceptWithoutIndex:
    @cached_property
    def text(self) -> str:
        return without_index(ACCEPT.text)


_ACCEPT_WITHOUT_INDEX = _AcceptWithoutIndex()


class _StoreWithoutIndex(Store):
    """Runs the shortened script in place of the accept script."""

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await super().run(_ACCEPT_WITHOUT_INDEX if script is ACCEPT else script, keys, args)


async def memory(redis: Redis, content: Content, empty_bytes: int) -> Memory:
    """The memory of a filled server. `empty_bytes`: what it used before."""
    index = [key async for key in redis.scan_iter(match=f"{PREFIX}orders_index:*", count=1000)]
    files = (keys.MERCHANT_FILES, keys.MERCHANT_VERSIONS)
    return Memory(
        shipments=content.shipments,
        whole=round((await used_bytes(redis) - empty_bytes) / content.shipments, 1),
        index=round(await _bytes(redis, index) / content.shipments, 1),
        merchant_file=round(await _bytes(redis, files) / content.merchants, 1),
        lists=await _bytes(redis, (keys.QUIET_TIMES, keys.NEAR_DEADLINE, keys.PROBLEMS)),
    )


async def used_bytes(redis: Redis) -> int:
    """What the server has allocated."""
    return int((await redis.info("memory"))["used_memory"])


async def _bytes(redis: Redis, names: Sequence[str | bytes]) -> int:
    return sum([await redis.memory_usage(name, samples=0) or 0 for name in names])


async def accept_cost(filler: Filler, settings: Settings, content: Content, orders: int, at_once: int) -> AcceptCost:
    """Accept orders with both scripts in turn, `at_once` in a script; `orders` with each of them."""
    ledgers = (Ledger(_StoreWithoutIndex(filler.store.redis), settings), Ledger(filler.store, settings))

    async def accept(ledger: Ledger, entries: Sequence[Entry]) -> Spent:
        return await _accept(filler, ledger, entries, at_once)

    without, indexed = await spent_in_turn(filler, ledgers, content, orders, accept)
    return AcceptCost(
        at_once=at_once,
        orders=orders,
        with_us=indexed.us,
        without_us=without.us,
        with_commands=indexed.commands,
        without_commands=without.commands,
    )


async def spent_in_turn(
    filler: Filler,
    ledgers: tuple[Ledger, Ledger],
    content: Content,
    orders: int,
    handle: Callable[[Ledger, Sequence[Entry]], Awaitable[Spent]],
) -> tuple[Spent, Spent]:
    """What an order costs with each ledger: new orders are published and handled by both in turn, `orders` by each."""
    used: tuple[list[Spent], list[Spent]] = ([], [])
    first = int(await filler.store.redis.xlen(filler.settings.orders_stream))
    for turn in range(2 * _ROUNDS):
        which = (turn + turn // 2) % 2  # the second of a round is the first of the next
        numbers = range(first, first + orders // _ROUNDS)
        first = numbers.stop
        entries = await filler.publish([order_text(number, content.merchants) for number in numbers])
        used[which].append(await handle(ledgers[which], entries))
    one, other = (Spent(*(round(sum(values) / orders, 2) for values in zip(*rounds, strict=True))) for rounds in used)
    return one, other


async def _accept(filler: Filler, ledger: Ledger, entries: Sequence[Entry], at_once: int) -> Spent:
    """What the server spends on these orders, as it counts it."""
    redis = filler.store.redis
    await redis.config_resetstat()
    for some in portions(entries, at_once):
        await filler.accept(some, ledger)
    return await spent(redis)


async def spent(redis: Redis) -> Spent:
    """What scripts have used since the server's statistics were reset."""
    counted = await redis.info("commandstats")
    stats = {name.removeprefix("cmdstat_"): stat for name, stat in counted.items()}
    nested = sum(stat["calls"] for name, stat in stats.items() if name not in _NOT_NESTED)
    return Spent(us=stats["evalsha"]["usec"], commands=nested)
