"""`allocation example`: the three examples are valid, and fit together."""

import json
import tomllib

import pytest
from dotenv import dotenv_values
from jsonschema import Draft202012Validator

from config.settings import Settings, variable
from tests.integration.commands.cli_harness import CliHarness
from worker.commands.schema import schema


@pytest.fixture
def printed(cli: CliHarness) -> CliHarness:
    """The examples, printed into the files that README names."""
    for name, path in (("order", "order.json"), ("merchant", "merchants/acme.toml"), ("env", "example.env")):
        (cli.folder / path).parent.mkdir(exist_ok=True)
        result = cli.run("example", name)
        assert result.code == 0
        (cli.folder / path).write_text(result.out)
    return cli


def test_merchant_file(printed: CliHarness) -> None:
    """It has neither problems nor warnings where its key is set."""
    result = printed.run("check", "merchants", "--strict", ACME_PRO_API_KEY="sandbox-key")
    assert (result.code, result.err) == (0, "")
    assert "1 merchant valid, 0 problems" in result.out


def test_order(printed: CliHarness) -> None:
    """Its schema accepts it, and the merchant file has a plan for it."""
    order = json.loads((printed.folder / "order.json").read_text())
    Draft202012Validator(schema("order-created")).validate(order)
    result = printed.run("check", "merchants", "--order", "order.json", "--json")
    (planned,) = result.document
    assert (result.code, planned["merchant"], planned["rule"]) == (0, "acme", "default")
    assert planned["plan"][0] == "virtual_service FF_LINET-00001"


def test_env(printed: CliHarness) -> None:
    """It sets settings, and the key that the merchant file names."""
    key = tomllib.loads((printed.folder / "merchants/acme.toml").read_text())["api"]["api_key"]["env"]
    names = {*dotenv_values(printed.folder / "example.env")}
    assert key in names
    assert names - {key} <= {variable(name) for name in Settings.model_fields}


def test_an_unknown_example(cli: CliHarness) -> None:
    """The error lists the known ones."""
    result = cli.run("example", "shipment")
    assert result.code == 2
    assert "'order', 'merchant', 'env'" in result.err
