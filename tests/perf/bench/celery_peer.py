"""A peer: Celery with one task for each order. Run with `celery -A tests.perf.bench.celery_peer worker`."""

import os

from celery import Celery

from tests.perf.bench.peer_work import BROKER, TASK, allocate_order

app = Celery("bench", broker=os.environ[BROKER])
app.conf.update(task_acks_late=True, worker_send_task_events=True, task_ignore_result=True)


@app.task(name=TASK)
def allocate(reference: str) -> None:
    """Allocate one shipment."""
    allocate_order(reference)
