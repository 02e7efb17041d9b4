"""`allocation flower`: starts Flower, its own actions switched off, beyond loopback only with a password."""

import asyncio
import os
import sys

import click
from tornado.netutil import bind_sockets

from worker.commands.example_lines import example
from worker.ledger.format import introduce
from worker.observability.logs import start_logging
from worker.processes.environment import load

_COLUMNS = "name,uuid,args,state,received,runtime,result"
"""What the list of tasks shows; `worker/processes/flower/task_lines.py` makes `args` and `result` plain text."""

_MAX_TASKS = "10000"
"""How many tasks Flower keeps in memory, some kilobytes each; the ledger keeps the history."""


@click.command(epilog=example("allocation flower"))
def command() -> None:
    """Start Flower on ALLOCATION_FLOWER_ADDRESS:ALLOCATION_FLOWER_PORT.

    It is read-only unless ALLOCATION_FLOWER_ACTIONS is set.

    Beyond loopback ALLOCATION_FLOWER_BASIC_AUTH=user:password is needed.
    """
    settings = load()
    start_logging(settings.log_level)
    asyncio.run(introduce(settings))
    if settings.flower_basic_auth:
        # Through the environment: a command line can be read by everybody on the machine.
        os.environ["FLOWER_BASIC_AUTH"] = settings.flower_basic_auth.get_secret_value()
    _try_to_listen(settings.flower_address, settings.flower_port)
    os.environ.setdefault("FLOWER_MAX_TASKS", _MAX_TASKS)
    where = [f"--address={settings.flower_address}", f"--port={settings.flower_port}"]
    shown = [f"--tasks_columns={_COLUMNS}", "--read-only", "--logging=none"]
    os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "worker", "flower", *where, *shown])  # noqa: S606


def _try_to_listen(address: str, port: int) -> None:
    """Flower itself would end in a traceback."""
    try:
        for sock in bind_sockets(port, address):
            sock.close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no such address"
        raise click.ClickException(
            f"cannot listen on ALLOCATION_FLOWER_ADDRESS {address}, ALLOCATION_FLOWER_PORT {port}: {why}; change one"
        ) from None
