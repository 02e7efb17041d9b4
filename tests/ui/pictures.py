"""Writes the pictures of the docs from the demo's data: `make pictures`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.ui.browser import chromium, visiting
from worker.lab.demo.environment import LOGIN

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pictures"
PICTURES = {
    "overview": "",
    "shipment": "/shipments/acme/sp_00802615769404976542730318118918",
}
"""The path of each picture below the pages' address; the shipment is that of the lost response."""

_ADDRESS = re.compile(r"In a browser, (\S+)/allocation")


def main() -> None:
    """Run the demo, and take every picture."""
    program = Path("/usr/bin/chromium")
    if not program.exists():
        sys.exit("chromium is missing; install it with: apt install chromium")
    with subprocess.Popen(
        [str(Path(sys.executable).parent / "allocation"), "demo", "--stay"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as demo:
        try:
            _take(program, _address(demo))
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=60)


def _address(demo: "subprocess.Popen[str]") -> str:
    assert demo.stdout
    for line in demo.stdout:
        if found := _ADDRESS.search(line):
            return found[1]
    sys.exit("the demo ended before it was ready; run `make demo` to see why")


def _take(program: Path, address: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with chromium(program) as browser, visiting(browser, address, (LOGIN, LOGIN)) as visit:
        for name, path in PICTURES.items():
            visit.open(f"/allocation{path}")
            file = FOLDER / f"{name}.png"
            visit.page.screenshot(path=file, full_page=True)
            print(f"wrote {file.relative_to(ROOT)}")  # noqa: T201  # a command of its own


if __name__ == "__main__":
    main()
