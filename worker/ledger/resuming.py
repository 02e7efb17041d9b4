"""Lifts the hold and the pause of a merchant when an operator orders it."""

from config.settings import Settings
from worker.ledger.ledger import Ledger
from worker.ledger.operator_actions import note_resumed, record_action, release_hold
from worker.redis_client.store import Store


async def resume(store: Store, settings: Settings, merchant: str, by: str) -> list[str]:
    """Lift hold and pause; returns a line about each that was lifted."""
    ledger, lines, due = Ledger(store, settings), list[str](), 0
    if await release_hold(store, merchant):
        lines.append(f"the hold of {merchant} is lifted")
    if merchant in await ledger.paused():
        due = await ledger.resume(merchant)
        await note_resumed(store.redis, merchant)
        lines.append(f"its pause is lifted; {due} parked {'shipment' if due == 1 else 'shipments'} became due")
    if lines:
        await record_action(store.redis, "resume", by, merchant, count=due)
    return lines
