"""The output of the demo: lines, and on a terminal a live table below them."""

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from worker.lab.demo.formatting import MAX_OF_A_REFERENCE, history, short
from worker.lab.demo.observe import Refusal, Seen
from worker.observability.text import visible

PLAIN_WIDTH = 80
MAX_WIDTH = 100

MAX_OF_A_LOG_LINE = 500
"""A traceback is one line, thousands of characters long."""

_STYLES = {
    "allocated": "green",
    "refused": "yellow",
    "throttled": "yellow",
    "unknown": "magenta",
    "failed": "red",
}


_COLUMNS = (
    ("shipment", MAX_OF_A_REFERENCE, None),
    ("rule", None, 16),
    ("what happened", None, 22),
    ("carrier", None, 13),
    ("labels", 7, None),
)
"""Name, and either the width or a share of the remaining width."""


class Screen:
    """Prints; draws the table only on a terminal that can move its cursor."""

    def __init__(self) -> None:
        """Nothing is printed yet."""
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown", None)
        self._console = Console(
            force_terminal=self.terminal,
            width=None if self.terminal else PLAIN_WIDTH,
            color_system="auto" if self.terminal else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live: Live | None = None
        self._drawn: tuple[Sequence[Seen], str] | None = None

    @property
    def _width(self) -> int:
        """Longer lines are hard to read."""
        return min(self._console.width, MAX_WIDTH)

    def say(self, text: str = "", *, indent: int = 0, style: str = "") -> None:
        """Print a paragraph."""
        self._lines(text, " " * indent, " " * indent, style)

    def line(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """Print one line without wrapping: to be copied, or from outside."""
        self._console.print(Text(" " * indent + visible(text), style=style), soft_wrap=True)

    def _lines(self, text: str, first: str, rest: str, style: str) -> None:
        filled = textwrap.fill(
            text,
            self._width,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._console.print(Text(filled, style=style), soft_wrap=True)

    def shipment(self, seen: Seen) -> None:
        """Print a shipment's history."""
        merchant, reference = seen.key
        self.say(f"{merchant}, shipment {reference}", indent=3, style="bold")
        for word, text in history(seen):
            self._lines(visible(text), f"     {word:<8}", " " * 13, "")
        for label in seen.data.get("labels", ()):
            href = label["href"]
            self.line(href, indent=5, style=f"link {href}" if self.terminal else "")

    def scene(self, number: int, title: str, before: str) -> None:
        """Announce a scene."""
        self.say()
        self.say(f"{number}. {title}", style="bold cyan")
        self.say(before, indent=3)

    def verdict(self, after: str, wrong: Sequence[str]) -> None:
        """Print the result of a scene."""
        if wrong:
            self.mismatch(wrong)
        else:
            self.say(f"As expected. {after}", indent=3, style="green")

    def mismatch(self, wrong: Sequence[str]) -> None:
        """Print unexpected results."""
        self.say("NOT AS EXPECTED", indent=3, style="bold red")
        for difference in wrong:
            self._lines(visible(difference), "     - ", "       ", "red")

    def refusal(self, refusal: Refusal) -> None:
        """Print why an event was rejected."""
        self._lines(visible(f"{refusal.reason}: {refusal.error}"), "     rejected ", " " * 14, "")

    @contextmanager
    def table(self) -> Iterator[None]:
        """Draw the table below the printed lines, on a terminal."""
        if not self.terminal:
            yield
            return
        # Without rich's own thread, which may draw while a line is printed.
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def update(self, shipments: Sequence[Seen], caption: str) -> None:
        """Show the latest of these in the table, up to half of the screen."""
        if self._live and (shipments, caption) != self._drawn:
            self._drawn = (shipments, caption)
            most = max(3, self._console.height // 2 - 5)
            table = _table(shipments[-most:], self._width, caption)
            self._live.update(Padding(table, (1, 0, 0, 0)), refresh=True)

    def summary(self, shipments: Sequence[Seen]) -> None:
        """Print the whole table on a terminal; elsewhere its lines were printed already."""
        if self.terminal:
            self.say()
            self._console.print(_table(shipments, self._width))

    def log(self, lines: Iterable[tuple[str, str]]) -> None:
        """Print lines of the processes' output."""
        for name, line in lines:
            self.line(f"{name:>8} | {line[:MAX_OF_A_LOG_LINE]}", style="dim")


def _table(shipments: Sequence[Seen], width: int, caption: str = "") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), width=width, caption=caption, caption_justify="left")
    for name, fixed, ratio in _COLUMNS:
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=fixed, ratio=ratio)
    for seen in shipments:
        rule, carrier = visible(seen.record.shipment.rule), visible(seen.carrier.get("name") or "")
        table.add_row(short(seen.key[1]), rule, _path(seen), carrier, _labels(seen))
    return table


def _path(seen: Seen) -> Text:
    """The outcomes in order, coloured; none for a shipment that has only waited."""
    words = [*seen.outcomes, *(["failed"] if seen.state == "failed" else [])]
    return Text(" > ").join(Text(word, style=_STYLES.get(word, "")) for word in words)


def _labels(seen: Seen) -> Text:
    """The formats, as links on terminals that support them."""
    labels = seen.data.get("labels") or []
    return Text(" ").join(Text(label["format"] or "label", style=f"link {label['href']}") for label in labels)
