"""The options of one sandbox; fixed while it runs."""

from dataclasses import dataclass
from typing import Literal

V1Form = Literal["summary", "is_success"]
"""The two JSON forms of a v1 Allocation Summary: with `StatusCode` and legs, or with `IsSuccess` and `Message`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a sandbox accepts and how long it takes.

    `keys`: the accepted API keys; shipments of different keys are different shipments. `auto_create`: an unknown
    reference is created rather than `shipment_not_found`. `latency_s`: added to every call; `queue_s`: how long a
    queued shipment is `allocating`; `quote_s`: how long a quote is valid; `keepalive_s`: how long an idle connection
    is kept (all in seconds). `v1_refusal_body`: whether v1 explains a refused single call. `seed`: selects the calls
    that a fault with a share applies to.
    """

    keys: tuple[str, ...] = ("sandbox-key",)
    auto_create: bool = True
    latency_s: float = 0.0
    queue_s: float = 0.3
    quote_s: float = 600.0
    keepalive_s: float = 75.0
    v1_form: V1Form = "summary"
    v1_refusal_body: bool = True
    seed: int = 0
