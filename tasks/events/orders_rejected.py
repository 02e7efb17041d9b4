"""The rejected stream: events that could not be accepted."""

from pydantic import Field

from tasks.events.envelope import Payload
from tasks.rules.order import RejectReason


class OrdersRejected(Payload):
    """The fields of an entry of the rejected stream: a rejected event."""

    event: str = Field(
        description="the original text; of an event that was too large, its first 64 KiB; of an entry without an "
        "event, its fields as JSON"
    )
    event_base64: str | None = Field(None, description="the original bytes, of an event that is not UTF-8")
    reason: RejectReason
    """Why the event was rejected."""
    error: str
    """Where and what is wrong, for a person."""
    stream_id: str = Field(description="the id of the event's entry in the orders stream")
