"""The scenes of the demo fit the project."""

from pathlib import Path
from string import Template

import pytest

from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import read
from tasks.rules.order import Order, Rejection, parse_order
from worker.lab.demo.merchants import MERCHANTS
from worker.lab.demo.processes import PROCFILE
from worker.lab.demo.scene import Scene
from worker.lab.demo.scenes import SCENES
from worker.lab.sandbox.catalogue import SERVICES

ROOT = Path(__file__).parents[3]


def merchant(folder: Path, name: str) -> Merchant:
    """The merchant of a file that the demo writes."""
    file = folder / f"{name}.toml"
    file.write_text(Template(MERCHANTS[name]).substitute(api="http://127.0.0.1:8700", key=folder / "api-key"))
    found = read(file)
    assert isinstance(found, Merchant), found
    return found


def test_it_runs_the_procfile() -> None:
    """The demo starts the processes of the Procfile, with the same commands."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert dict(line.split(": ", maxsplit=1) for line in lines) == PROCFILE


def test_both_generations_are_used(tmp_path: Path) -> None:
    """The merchants use v2, v1 in JSON and v1 in XML, each with a valid file."""
    apis = {merchant(tmp_path, name).file.api for name in MERCHANTS}
    formats = {(api.flavour, api.format) for api in apis}
    assert formats == {("shipments-v2", "json"), ("consignments-v1", "json"), ("consignments-v1", "xml")}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.title)
def test_endings_are_possible(scene: Scene, tmp_path: Path) -> None:
    """A scene's event is accepted or rejected as stated; its rule is in the merchant's file, its service exists."""
    match parse_order(scene.event.encode()):
        case Order(data=data):
            rules = merchant(tmp_path, data.merchant).file.rules
            assert scene.ending.rule in {"default", *(rule.name for rule in rules)}
            assert scene.ending.service in {None, *SERVICES}
        case Rejection(reason=reason):
            assert scene.rejected == reason
        case other:
            pytest.fail(f"neither accepted nor rejected: {other}")
