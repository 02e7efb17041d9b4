"""The names of the ledger's keys in Redis; `lua/_prelude.lua` has the table of what each holds."""

from worker.redis_client.store import PREFIX

FORMAT = f"{PREFIX}format"
MERCHANT_QUEUE = f"{PREFIX}merchant_queue"
KNOWN_MERCHANTS = f"{PREFIX}known_merchants"
WAKEUPS = f"{PREFIX}wakeups"
PAUSED = f"{PREFIX}paused"
RECHECKS = f"{PREFIX}rechecks"
BREAKERS = f"{PREFIX}breakers"
THROTTLED = f"{PREFIX}throttled"
LOST_ORDERS = f"{PREFIX}lost_orders"
IGNORED_EVENTS = f"{PREFIX}ignored_events"
HEARTBEATS = f"{PREFIX}heartbeats"
LAST_SWEEP = f"{PREFIX}last_sweep"
REJECTED = f"{PREFIX}rejected"
ON_HOLD = f"{PREFIX}on_hold"
QUIET_TIMES = f"{PREFIX}quiet_times"
NEAR_DEADLINE = f"{PREFIX}near_deadline"
MERCHANT_FILES = f"{PREFIX}merchant_files"
MERCHANT_VERSIONS = f"{PREFIX}merchant_versions"
METRICS = f"{PREFIX}metrics"
CANCELLED = f"{PREFIX}cancelled"
PROBLEMS = f"{PREFIX}problems"
AUDIT = f"{PREFIX}audit"


def record(merchant: str, reference: str) -> str:
    """The hash of a shipment."""
    return f"{PREFIX}shipment:{merchant}:{reference}"


def schedule(merchant: str) -> str:
    """Due and parked shipments, by due time."""
    return f"{PREFIX}schedule:{merchant}"


def working(merchant: str) -> str:
    """Leased shipments, by the end of the lease."""
    return f"{PREFIX}working:{merchant}"


def lease_tokens(merchant: str) -> str:
    """The lease token of each leased shipment."""
    return f"{PREFIX}lease_tokens:{merchant}"


def failed(merchant: str) -> str:
    """Failed shipments, by time."""
    return f"{PREFIX}failed:{merchant}"


def failed_causes(merchant: str) -> str:
    """The causes of failed shipments."""
    return f"{PREFIX}failed_causes:{merchant}"


def failed_cause(merchant: str, cause: str) -> str:
    """Failed shipments of one cause, by time."""
    return f"{PREFIX}failed_cause:{merchant}:{cause}"


def counts(merchant: str) -> str:
    """Settled shipments and calls after an open one."""
    return f"{PREFIX}counts:{merchant}"


def orders_by_minute(minute: int) -> str:
    """Accepted orders by merchant, of a minute since the epoch."""
    return f"{PREFIX}orders_by_minute:{minute}"


def activity(slot: int) -> str:
    """Calls and allocated shipments by merchant, of ten minutes since the epoch."""
    return f"{PREFIX}activity:{slot}"


def orders_index(day: int) -> str:
    """Order numbers and event ids of a day, counted since the epoch."""
    return f"{PREFIX}orders_index:{day}"


def merchant_file(version: str) -> str:
    """An earlier version of a merchant file."""
    return f"{PREFIX}merchant_file:{version}"


def window(merchant: str) -> str:
    """The window and the limits."""
    return f"{PREFIX}window:{merchant}"


def breaker(name: str) -> str:
    """The state of a breaker."""
    return f"{PREFIX}breaker:{name}"


def call_stats(api: str) -> str:
    """Recent responses of an API."""
    return f"{PREFIX}call_stats:{api}"


def resumed(merchant: str) -> str:
    """Digests of file and key that resumed the merchant lately."""
    return f"{PREFIX}resumed:{merchant}"


def denied(api: str) -> str:
    """The first shipment that got a 403 in the last seconds."""
    return f"{PREFIX}denied:{api}"


def split(merchant: str, step: str) -> str:
    """The lease token that splits a refused bulk call. `step`: a digest of its strategy."""
    return f"{PREFIX}split:{merchant}:{step}"


def form(name: str) -> str:
    """Present once the form of this name has been sent."""
    return f"{PREFIX}form:{name}"


def held_alone(stream_id: str) -> str:
    """Intakes that ended while they held only this entry."""
    return f"{PREFIX}held_alone:{stream_id}"
