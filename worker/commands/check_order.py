"""`allocation check --order FILE`: rule and plan of each shipment of an order, without publishing it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from config.merchant_files.merchant_file import Merchant
from tasks.rules.order import Order, parse_order
from tasks.rules.plan import choose, facts_of
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.publish import read_events, refuse_wrong
from worker.observability.text import count


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedShipment:
    """A shipment with the plan that the merchant's file chooses for it. `file`: name and version."""

    merchant: str
    order: str
    reference: str
    file: str
    rule: str
    why: str
    plan: tuple[str, ...]


def check_order(file: Path, merchants: Mapping[str, Merchant], *, as_json: bool) -> None:
    """Print the plan of each shipment; raises an error for an invalid event or an unknown merchant."""
    events = read_events([file])
    refuse_wrong(events, "so it has no plan; fix it")
    orders = [order for event in events if isinstance(order := parse_order(event.text), Order)]
    planned = [shipment for order in orders for shipment in _planned(order, merchants)]
    if as_json:
        print_json([asdict(shipment) for shipment in planned])
    else:
        _print(planned)


def _planned(order: Order, merchants: Mapping[str, Merchant]) -> Iterator[PlannedShipment]:
    merchant = merchants.get(order.data.merchant)
    if merchant is None:
        known = ", ".join(sorted(merchants)) or "none"
        raise click.ClickException(f"no valid merchant file for {order.data.merchant!r}; valid: {known}")
    for shipment in order.data.shipments:
        plan = choose(merchant.file, facts_of(order.data, shipment))
        yield PlannedShipment(
            merchant=merchant.name,
            order=order.data.order,
            reference=shipment.reference,
            file=f"{merchant.name}.toml, version {merchant.version}",
            rule=plan.rule,
            why=plan.why,
            plan=tuple(map(str, plan.steps)),
        )


def _print(planned: Sequence[PlannedShipment]) -> None:
    rows = table("~shipment", "~file", "~rule", "~why", "~plan")
    for each in planned:
        words: tuple[Any, ...] = (each.reference, each.file, each.rule, each.why, ", then ".join(each.plan))
        rows.add_row(*map(cell, words))
    print_table(rows)
    say(f"{count(len(planned), 'shipment')}; nothing was published")
