"""Alerts and board use what exists: problems, metrics, labels and sections of the runbook."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tasks.rules.outcome import WORDS, Purpose
from tests.factories.readings import exposed
from worker.observability.problems.problem import SLUGS, Severity

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/monitoring"
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
BOARD: dict[str, Any] = json.loads((FOLDER / "board.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]

PROMETHEUS_LABELS = {"job", "instance", "le"}
METRIC = re.compile(r"(?<![\w:])allocation_\w+")
MATCHED = re.compile(r"(?<![\w:])(allocation_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left) ?\(([^)]*)\)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
VALUES: dict[str, tuple[str, ...]] = {
    "problem": SLUGS,
    "severity": get_args(Severity),
    "outcome": tuple(WORDS.values()),
    "action": get_args(Purpose),
    "state": ("due", "parked", "working"),
    "fell_back": ("true", "false"),
    "adopted": ("true", "false"),
}
"""The values of labels that have a closed list."""


def series() -> dict[str, set[str]]:
    """The labels of each name that can be queried."""
    found = {}
    for name, (kind, labels) in exposed().items():
        for suffix in SUFFIXES.get(kind, ("",)):
            found[name + suffix] = {*labels, *PROMETHEUS_LABELS}
    return found


SERIES = series()


def texts() -> Iterator[str]:
    """Everything in rules and board that may name a metric."""
    for rule in RULES:
        yield rule["expr"]
        yield from rule.get("annotations", {}).values()
    yield from QUERIES
    yield from (variable["query"] for variable in BOARD["templating"]["list"])


def urgent_in_the_code() -> set[str]:
    """The slugs of all problems that may be urgent, as they are written in the code."""
    found = set()
    for path in (ROOT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                words = {each.arg: _words(each.value) for each in node.keywords}
                if "urgent" in words.get("severity", ()):
                    found |= words["slug"] & set(SLUGS)
    return found


def _words(node: ast.expr) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def headings(path: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_urgent_problem_has_one_alert() -> None:
    """Each has one rule, named after it; the table of operating.md has the same ones as urgent."""
    pattern = re.compile(r'allocation_problem\{problem="(\w+)", severity="urgent"\}')
    found = {rule["alert"]: match[1] for rule in ALERTS if (match := pattern.fullmatch(rule["expr"]))}
    named = {f"Allocation{slug.title().replace('_', '')}": slug for slug in urgent_in_the_code()}
    assert found == named
    table = re.findall(r"^\| `(\w+)` \| [^|]+\S \|", _problems_table(), re.MULTILINE)
    assert sorted(table) == sorted(named.values())
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)


def _problems_table() -> str:
    return (ROOT / "docs/operating.md").read_text().partition("\nEach problem")[2].partition("\n\nWith ")[0]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It has a summary, a description, a section of the runbook that exists, and a page unless there is none."""
    annotations = rule["annotations"]
    assert annotations.keys() - {"page"} == {"summary", "description", "runbook_url"}
    assert ("page" in annotations) == (rule["alert"] != "AllocationMetricsUnavailable")
    assert annotations.get("page", "/allocation").startswith("/allocation")
    document, _, anchor = annotations["runbook_url"].partition("#")
    assert anchor in headings(ROOT / document)
    severity = rule.get("labels", {}).get("severity") or re.findall(r'severity="(\w+)"', rule["expr"])[0]
    assert severity in get_args(Severity)


@pytest.mark.parametrize("text", sorted({*texts()}))
def test_metrics_and_labels_exist(text: str) -> None:
    """Every metric is exposed and has the labels that are used of it, with values that it may have."""
    used = METRIC.findall(text)
    assert [name for name in used if name not in SERIES] == []
    assert {*re.findall(r"allocation:[\w:]+", text)} <= RECORDED
    for name, matchers in MATCHED.findall(text):
        for label, value in re.findall(r'(\w+)=~?(?:%q|"([^"]*)")', matchers):
            assert label in SERIES[name]
            assert value in VALUES.get(label, (value,))
    grouped = {label.strip() for labels in GROUPED.findall(text) for label in labels.split(",") if label.strip()}
    assert all(grouped <= SERIES[name] for name in used)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_labels_that_it_has(rule: dict[str, Any]) -> None:
    """Annotations use only labels of the alert's own series."""
    named = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    is_problem = "allocation_problem" in rule["expr"]
    assert named <= (SERIES["allocation_problem"] if is_problem else {"merchant", "job"})


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    """It has a description and a unit, and queries the chosen data source and job."""
    assert panel["description"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert [target["expr"] for target in panel["targets"] if 'job="$job"' not in target["expr"]] == []
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [*"ABCDEFGH"[: len(letters)]]


def test_panels_have_their_own_place() -> None:
    """Ids are unique, and no panel covers another one or leaves the grid."""
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken = [cell for panel in BOARD["panels"] for cell in _cells(panel["gridPos"])]
    assert len(taken) == len({*taken})
    assert all(0 <= x < 24 for x, _ in taken)


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_links_lead_to_flower() -> None:
    """Every link of the board is a page of Flower, below the address that the board asks for."""
    urls = re.findall(r'"url": ?"([^"]*)"', (FOLDER / "board.json").read_text())
    known = re.compile(r"\$\{flower\}/allocation/(failures|merchants/(\$\{merchant\}|\$\{__field\.labels\.merchant\}))")
    assert [url for url in urls if not known.fullmatch(url)] == []
    assert len(urls) > 2


def test_variables() -> None:
    """Each variable that a query or link uses is one of the board's or Grafana's."""
    names = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = {*re.findall(r"\$\{?(\w+)", json.dumps(BOARD))}
    assert used - names == {"__field", "__rate_interval", "__range"}


def test_no_secret_is_in_the_scrape_configuration() -> None:
    """The password is in a file of its own; the job is the one that the alerts name."""
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["basic_auth"].keys() == {"username", "password_file"}
    (pattern,) = {name for rule in ALERTS for name in re.findall(r'up\{job=~"([^"]+)"\}', rule["expr"])}
    assert re.fullmatch(pattern, job["job_name"])
