"""One chaos run: publishes orders, waits for them, and collects the figures."""

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.acceptance.system import System, order_event, v1_file, v2_file, wait_until

ROLES = ("intake", "worker", "beat")
LINET = '{ virtual_service = "FF_LINET-00001" }'
FALLBACK = '[{ carrier_service = "EXPRESS" }, { service_group = "EXPRESS" }]'
SETTLE_TIMEOUT_S = 120.0
"""How long after the last fault every order must be settled."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run: the figures that must be zero, and how long it took."""

    scenario: str
    seed: int
    orders: int
    figures: dict[str, int]
    seconds: float
    after_last_fault_s: float


def write_merchants(system: System) -> list[str]:
    """One merchant for each kind of call: single calls, chains, v1 in JSON and XML, queued bulk calls."""
    url = system.url
    bulk = v2_file(url, '{ carrier_service = "FF_LINET-00001" }').replace("[alloc", "bulk = true\n[alloc", 1)
    system.merchant("virtual", v2_file(url, LINET))
    system.merchant("chain", v2_file(url, '{ virtual_service = "EXPRESS" }', FALLBACK))
    system.merchant("bulk", bulk)
    system.merchant("many", v1_file(url, '{ carrier_service = "FF_LINET-00001" }'))
    system.merchant("xml", v1_file(url, "{ default_rules = true }", body_format="xml"))
    return ["virtual", "chain", "bulk", "many", "xml"]


class Run:
    """The orders of a run and their progress."""

    def __init__(
        self, system: System, seed: int, orders: int, merchants: Sequence[str], *, publish: bool = True
    ) -> None:
        """Publish all orders at once, unless the scenario publishes them itself."""
        self.system = system
        self.random = random.Random(seed)  # noqa: S311  # repeatable, no secret
        self.seed = seed
        self.orders = orders
        self.shipments = [(merchants[n % len(merchants)], f"sp_{n:08d}") for n in range(orders)]
        self.began = time.monotonic()
        if publish:
            self.publish()

    def publish(self) -> None:
        """Publish every order."""
        self.began = time.monotonic()
        self.system.publish(order_event(merchant, [reference]) for merchant, reference in self.shipments)

    def shares(self, count: int, patience_s: float | None = None) -> Iterator[int]:
        """Wait for `count` equal shares of progress, and yield at each; with a patience, no longer than that."""
        for number in range(1, count + 1):
            wanted = self.orders * number // (count + 2)
            with contextlib.nullcontext() if patience_s is None else contextlib.suppress(AssertionError):
                wait_until(
                    lambda wanted=wanted: self.system.settled() >= wanted,  # type: ignore[misc]
                    patience_s or SETTLE_TIMEOUT_S,
                    f"{wanted} settled",
                )
            yield number

    def end(self, scenario: str) -> Result:
        """Wait for the last order; then the figures."""
        last_fault = time.monotonic()
        self.system.wait_settled(self.orders, SETTLE_TIMEOUT_S)
        now = time.monotonic()
        dead = [role for role, process in self.system.processes.items() if process.poll() is not None]
        assert not dead, f"{dead} did not survive"
        return Result(
            scenario=scenario,
            seed=self.seed,
            orders=self.orders,
            figures=self.system.verdict(self.shipments),
            seconds=round(now - self.began, 1),
            after_last_fault_s=round(now - last_fault, 1),
        )
