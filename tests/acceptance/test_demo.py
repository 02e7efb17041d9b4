"""`allocation demo`, with real processes on this machine."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.demo_run import ALLOCATION, Run, demo
from worker.lab.demo.scene import Scene
from worker.lab.demo.scenes import SCENES

SEED = "sp_00802615769404976542730318118912"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for all temporary files."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def finished(home: Path) -> Iterator[Run]:
    """A finished demo."""
    with demo(home) as run:
        run.end()
        yield run


def collapsed(text: str) -> str:
    """The text with collapsed white space, so that line breaks do not matter."""
    return " ".join(text.split())


def test_it_succeeds(finished: Run) -> None:
    """The scenes settle as expected: exit code 0, and the API counted no shipment twice."""
    assert finished.process.returncode == 0, finished.text
    assert "11 shipments allocated, none twice" in finished.text
    assert "NOT AS EXPECTED" not in finished.text


def test_the_first_call_has_carrier_and_labels(finished: Run) -> None:
    """The call of PRO's own help page ends with its carrier and a link for each label format."""
    block = finished.text.partition(f"acme, shipment {SEED}")[2].partition("As expected")[0]
    assert "virtual_service FF_LINET-00001: allocated" in block
    assert "Lineten - Standard On Demand, 2.00 GBP" in block
    links = [line.strip() for line in block.splitlines() if "/labels/" in line]
    assert [link.rpartition("/pro")[2] for link in links] == [f"/labels/{SEED}/pdf", f"/labels/{SEED}/zpl"]


def test_a_repeated_order_leads_to_no_call(finished: Run) -> None:
    """The API's own count of calls is the same before and after it."""
    block = finished.text.partition("The same order twice")[2].partition("As expected")[0]
    (before, after) = re.findall(r"has counted (\d+) before this event, and (\d+) after it", collapsed(block))[0]
    assert int(before) == int(after) > 0


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.title)
def test_every_scene_is_printed(finished: Run, scene: Scene) -> None:
    """A scene prints what is about to happen, then what happened."""
    text = collapsed(finished.text)
    assert (
        -1 < text.find(collapsed(f"{scene.title} {scene.before}")) < text.find(collapsed(f"As expected. {scene.after}"))
    )


def test_it_fits_a_narrow_screen(finished: Run) -> None:
    """Without a terminal, lines have at most 80 columns, no colour and no control character."""
    assert [line for line in finished.lines if len(line) > 80] == []
    assert [line for line in finished.lines if line and not line.isprintable()] == []


def test_nothing_is_left(finished: Run) -> None:
    """After its end, its processes and its folder are gone."""
    assert finished.left_behind() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cleans_up(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Terminated in the middle, it ends its processes and removes its folder first."""
    with demo(tmp_path) as run:
        run.until(SCENES[1].title)
        assert run.end(number) == code
        assert "nothing is left behind" in run.text
        assert run.left_behind() == []


def test_a_kill_cleans_up(tmp_path: Path) -> None:
    """Killed, it cannot clean up itself, and nothing is left all the same."""
    with demo(tmp_path) as run:
        run.until(SCENES[1].title)
        run.process.kill()
        deadline = time.monotonic() + 10
        while (left := run.left_behind()) and time.monotonic() < deadline:
            """The watchdog process is running."""
        assert left == []


def test_a_lost_process_is_a_failure(tmp_path: Path) -> None:
    """If a process dies the demo names it, shows the output of the processes, and ends with exit code 1."""
    with demo(tmp_path) as run:
        run.until(SCENES[1].title)
        (beat,) = [pid for pid, command in run.processes().items() if "--quiet beat" in command]
        os.kill(beat, signal.SIGKILL)
        assert run.end() == 1
        assert "beat ended by itself" in run.text
        assert "beat | " in run.text
        assert run.left_behind() == []


def test_further_orders_are_shown(tmp_path: Path) -> None:
    """With --stay it accepts orders from another terminal, with the printed settings, until it is terminated."""
    with demo(tmp_path, "--stay") as run:
        run.until("Now your own orders")
        exports = dict(run.until("export ").removeprefix("export ").split("=", 1) for _ in range(2))
        example = run.until(" publish ").split()[-1]
        publish = [ALLOCATION, "publish", example]
        subprocess.run(publish, env={**os.environ, **exports}, check=True, capture_output=True, timeout=30)
        (shipment,) = json.loads(Path(example).read_text())["data"]["shipments"]
        run.until(f"acme, shipment {shipment['reference']}")
        run.until(f"/labels/{shipment['reference']}/zpl")
        assert run.end(signal.SIGINT) == 0
        assert run.left_behind() == []
