"""Oversized and malformed events among valid orders: they are rejected, and intake uses bounded memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.acceptance.system import System, order_event
from tests.perf.chaos.run import Result, Run, write_merchants

MAX_MB = 300
MIB = 1024 * 1024


def poison(system: System, seed: int, orders: int, count: int) -> Result:
    """Invalid events of a mebibyte and more, between two halves of the valid ones."""
    merchants = write_merchants(system)
    run = Run(system, seed, orders, merchants, publish=False)
    half = orders // 2
    intake = system.processes["intake"].pid
    system.publish(order_event(merchant, [reference]) for merchant, reference in run.shipments[:half])
    for number in range(count):
        system.redis.xadd("orders.created", {"event": WRONG[number % len(WRONG)]})
    system.publish(order_event(merchant, [reference]) for merchant, reference in run.shipments[half:])
    result = run.end("poison")
    figures = {
        "not rejected": count - len(system.rejected()),
        "intake restarted": int(system.processes["intake"].pid != intake),
        "MB too much": max(0, most_mb(intake) - MAX_MB),
    }
    return replace(result, figures={**result.figures, **figures})


def most_mb(pid: int) -> int:
    """The peak memory of a process, in MB (Linux)."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def _order(shipments: list[Any], **data: Any) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "id": "e", "source": "s", "type": "order.created"}
    return {**envelope, "data": {"merchant": "virtual", "order": "1", "shipments": shipments, **data}}


def _text(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


WRONG = (
    _text(_order([1] * 520_000)),
    _text(_order([{"reference": 5}] * 50_000)),
    _text(_order([{"reference": f"r{number}"} for number in range(20_000)], order="x" * 100_000)),
    _text(_order([{"reference": "a", "tags": ["x"] * 200_000}])),
    _text({f"key {number}": [number] for number in range(45_000)}),
    _text({**_order([]), "data_base64": "A" * 900_000}),
    b"[" * MIB,
    b'{"a":' * (MIB // 5),
    b"\xff" * MIB,
    b"x" * (3 * MIB),
)
