"""Celery's options, the two queues and the beat schedule, from the settings."""

from typing import Any

from kombu import Exchange, Queue

from config.settings import Settings
from config.tls import tls_options

BATCHES = "allocation"
"""The queue of start messages and of the links of fallback chains."""

SWEEPS = "allocation.sweep"
"""The sweep's own queue, so that it never waits behind other messages."""

SWEEP_TASK = "allocation.sweep"

PATIENCE_S = 1.0
"""How long a link waits for its calls; slow ones finish without it."""


def celery_options(settings: Settings) -> dict[str, Any]:
    """All of Celery's options, in lower case."""
    return {**_broker(settings), **_tasks(), **_worker(settings), **_beat(settings)}


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker,
        "broker_transport_options": {
            # kombu would note each message that is read and not yet acknowledged, in two transactions: the lease does
            # that.
            "ack_emulation": False,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # In the order in which the worker names its queues: the sweep first.
            "queue_order_strategy": "priority",
        },
        # Always set: for a rediss:// URL without options kombu would check no certificate.
        "broker_use_ssl": tls_options(settings.broker),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Connections are opened on demand. Flower sends nine requests at once, over two connections each: with fewer
        # they deadlock, and it shows neither workers nor tasks.
        "broker_pool_limit": 20,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    }


def _tasks() -> dict[str, Any]:
    return {
        # In the order in which a worker polls them.
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in (SWEEPS, BATCHES)],
        "task_default_queue": BATCHES,
        "task_routes": {SWEEP_TASK: {"queue": SWEEPS}},
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_ignore_result": True,
        # The ledger decides which worker owns a shipment, so a message is acknowledged when it is read: a lost one
        # costs a lease at most, and none is redelivered an hour later (the visibility timeout).
        "task_acks_late": False,
        # A task returns within ten seconds and a few round trips to Redis; these limits only end a stalled child.
        "task_soft_time_limit": 60,
        "task_time_limit": 90,
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_concurrency": settings.concurrency,
        "worker_pool": "prefork",
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_soft_shutdown_timeout": 10.0,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _beat(settings: Settings) -> dict[str, Any]:
    return {
        "timezone": "UTC",
        "enable_utc": True,
        "beat_max_loop_interval": 5,
        "beat_schedule": {
            "sweep": {
                "task": SWEEP_TASK,
                "schedule": settings.sweep_seconds,
                # No `expires`: it is a time by this machine's clock, and a worker with a clock ahead would drop every
                # sweep. The scheduler sends none while one waits, so they do not pile up.
                "options": {"queue": SWEEPS},
            }
        },
    }
