"""The demo from start to end, with an exit code; it cleans up in every case."""

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from worker.lab.demo.environment import LOGIN, Stage, stage
from worker.lab.demo.processes import ProcessEndedError
from worker.lab.demo.scene import Order, Parcel
from worker.lab.demo.scene_runner import NotReadyError, Play, ToldToEndError, play
from worker.lab.demo.screen import Screen
from worker.lab.embedded_server import ServerError
from worker.redis_client.store import RedisError

LOG_LINES = 15
"""How much of each process's output is shown after a failure."""

_BREAKDOWNS = (NotReadyError, ProcessEndedError, RedisError, aiohttp.ClientError, TimeoutError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of the command line."""

    stay: bool = False
    keep: bool = False
    verbose: bool = False


def run(options: Options) -> int:
    """Run the demo; returns its exit code: 0 only if everything settled as expected."""
    return asyncio.run(_demo(options))


async def _demo(options: Options) -> int:
    signals, screen = _signals(), Screen()
    _open(screen)
    try:
        with stage(keep=options.keep) as ready:
            code = await _on_stage(ready, screen, signals, options)
    except ServerError as error:
        screen.mismatch([str(error)])
        code = 1
    except ToldToEndError:
        return 128 + signals[0]
    finally:
        screen.say("Stopped; the folder is kept." if options.keep else "Stopped; nothing is left behind.")
    _close(screen, options, code)
    return code


def _signals() -> list[int]:
    """Collects signals: Ctrl-C, SIGTERM, a closed terminal. None of them ends the process at once."""
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, came.append, number)
    return came


async def _on_stage(ready: Stage, screen: Screen, signals: Sequence[int], options: Options) -> int:
    try:
        async with play(ready, screen, signals, verbose=options.verbose) as running:
            return await _judged(running, options)
    finally:
        screen.say()
        if options.keep:
            screen.line(f"Folder: {ready.folder}")
        screen.say("Stopping the processes.")


async def _judged(running: Play, options: Options) -> int:
    """Play the scenes; after a failure show the processes' output, which is removed at the end."""
    try:
        wrong = await running.perform(await running.get_ready())
        if not wrong and options.stay:
            await _stay(running)
    except _BREAKDOWNS as error:
        wrong = [str(error)]
    if not wrong:
        return 0
    running.screen.say()
    running.screen.mismatch(wrong)
    running.screen.log(running.stage.processes.last_lines(LOG_LINES))
    return 1


async def _stay(running: Play) -> None:
    """Follow further orders until a signal arrives, which is the normal end."""
    _invite(running.screen, running.stage)
    with contextlib.suppress(ToldToEndError):
        await running.follow()


def _open(screen: Screen) -> None:
    screen.say("allocation demo", style="bold")
    screen.say()
    screen.say(
        "When a shop creates an order, a carrier service must be chosen for each of its shipments. This worker "
        "reads orders from a stream, calls the API of a carrier platform (PRO) as each merchant's file says, and "
        "publishes the result with label links."
    )
    screen.say()
    screen.say(
        "The demo processes a few orders, most of them with faults. Everything runs on this machine: a "
        "Redis server (embedded Valkey), a simulated PRO API and the four processes of the Procfile. It takes "
        "less than "
        "a minute, makes no external calls, and leaves nothing behind."
    )
    screen.say()
    screen.say("Starting.")


def _invite(screen: Screen, ready: Stage) -> None:
    example = ready.folder / "order.json"
    parcel = Parcel(reference="sp_my_first")
    example.write_text(Order(merchant="acme", number="2001", parcels=(parcel,)).as_event() + "\n")
    own = _own_command()
    screen.say()
    screen.say("Now your own orders. In another terminal:", style="bold")
    screen.say()
    for name, value in ready.for_another_shell.items():
        screen.line(f"export {name}={shlex.quote(value)}", indent=3)
    screen.line(f"{own} publish {shlex.quote(str(example))}", indent=3)
    screen.line(f"{own} explain {parcel.reference}", indent=3)
    screen.line(f"{own} status", indent=3)
    screen.say()
    screen.say(f"In a browser, {ready.pages} shows the same. User: {LOGIN}, password: {LOGIN}.")
    screen.say()
    screen.say(
        "Edit the file's reference before you publish it again: a known shipment is not allocated again. The "
        "merchant "
        "files may be edited too, while everything runs. Ctrl-C ends the demo."
    )
    screen.say()


def _close(screen: Screen, options: Options, code: int) -> None:
    screen.say()
    if code:
        screen.say("The demo did not end as expected; see the differences above.", style="bold red")
        return
    own = _own_command()
    screen.say("Everything settled as expected. Where to go next:", style="bold")
    if not options.stay:
        screen.line(f"{own} demo --stay", indent=3)
        screen.say("the same, then your own orders", indent=6)
    screen.line(f"{own} --help", indent=3)
    screen.say("all commands", indent=6)
    screen.line("README.md", indent=3)
    screen.say("how to run it with your own Redis server and the real API", indent=6)


def _own_command() -> str:
    """How to call this command line."""
    script = Path(sys.executable).with_name("allocation")
    found = shutil.which("allocation")
    if found and Path(found).resolve() == script.resolve():
        return "allocation"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)
