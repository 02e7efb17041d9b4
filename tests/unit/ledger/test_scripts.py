"""The Lua scripts and Python agree on argument order and keys."""

import inspect
import re
from typing import Any

import pytest

from worker.ledger import keys
from worker.ledger.arguments import ClaimedRow
from worker.ledger.scripts import ARGUMENTS, CLAIM, CLAIM_LINK, LuaScript

UNPACKED = re.compile(r"local ([\w,\s]+?) =\s+unpack\(ARGV, ([\w ]+(?:\+ \d+)?), ([^)]+)\)")
STEP = re.compile(r"for i = (\d+), #ARGV, (\d+) do")
PRELUDE = CLAIM.text.partition("local P = ")[0]
TABLE = re.findall(r"^-- ([a-z_]+)[ :<]", PRELUDE.partition("key   ")[2], re.MULTILINE)


def code(script: LuaScript) -> str:
    """The script without the included parts."""
    return script.text.rpartition("-- KEYS: ")[2]


@pytest.mark.parametrize("script", ARGUMENTS, ids=lambda script: script.name)
def test_arguments(script: LuaScript) -> None:
    """A script names its arguments like the fields of the tuples, in the same order."""
    head, *rows = (kind._fields for kind in ARGUMENTS[script])
    unpacked = [(re.split(r",\s*", names), first) for names, first, _ in UNPACKED.findall(code(script))]
    assert [name for names, first in unpacked if first == "1" for name in names] == list(head)
    assert [name for names, first in unpacked if first != "1" for name in names] == [n for row in rows for n in row]


@pytest.mark.parametrize("script", ARGUMENTS, ids=lambda script: script.name)
def test_rows(script: LuaScript) -> None:
    """Rows begin after the first arguments, and are as long as their tuple."""
    head, *rows = ARGUMENTS[script]
    for first, size in STEP.findall(code(script)):
        assert (int(first), int(size)) == (len(head._fields) + 1, len(rows[0]._fields))
    for first, size in re.findall(r"read_tokens\((\d+), (\d+)\)", code(script)):
        assert (int(first), int(size)) == (len(head._fields) + 1, len(rows[0]._fields))


@pytest.mark.parametrize("script", [CLAIM, CLAIM_LINK], ids=lambda script: script.name)
def test_claimed_rows(script: LuaScript) -> None:
    """A claim returns the record fields that Python names, and two more."""
    fields = re.findall(r"'(\w+)'", script.text.partition("local FIELDS = {")[2].partition("}")[0])
    returned = fields[fields.index("earliest_at") :]
    assert ClaimedRow._fields == ("reference", *returned, "in_doubt_since", "is_permitted", "cancelled")


def test_keys() -> None:
    """Every key in Python and in a script is in the table of the prelude."""
    named = {value for name, value in vars(keys).items() if name.isupper() and name != "PREFIX"}
    named |= {made(*["x"] * len(inspect.signature(made).parameters)) for made in functions()}
    assert {name.removeprefix("allocation:").partition(":")[0] for name in named} <= set(TABLE)
    built = {name for script in ARGUMENTS for name in re.findall(r"P \.\. '([a-z_]+)", script.text)}
    assert built <= set(TABLE)
    assert len(TABLE) == len(set(TABLE))


def functions() -> list[Any]:
    """The functions that build a key."""
    return [made for made in vars(keys).values() if inspect.isfunction(made)]
