"""Merchant files for the tests."""

import tomllib
from pathlib import Path
from typing import Any

from config.merchant_files.merchant_file import Merchant, MerchantFile
from config.merchant_files.reading import Problem, read

V2_API = '[api]\nflavour = "shipments-v2"\nbase_url = "https://api.test/pro"\napi_key = { env = "ACME_KEY" }\n'
V1_API = '[api]\nflavour = "consignments-v1"\nbase_url = "https://api.test"\napi_key = { env = "ACME_KEY" }\n'
SERVICE = '[allocation]\nstrategy = { carrier_service = "A" }\n'


def rule(when: str, strategy: str = '{ service_group = "freight" }', name: str = "heavy", more: str = "") -> str:
    """One `[[rules]]` table."""
    return f'[[rules]]\nname = "{name}"\nwhen = {when}\nstrategy = {strategy}\n{more}'


def file_of(text: str) -> MerchantFile:
    """A valid merchant file, from its text."""
    return MerchantFile.model_validate(tomllib.loads(text))


def read_text(folder: Path, text: str, name: str = "acme.toml", **more: Any) -> Merchant | list[Problem]:
    """The result of reading a file with this text."""
    path = folder / name
    path.write_text(text)
    return read(path, **more)


def problems(folder: Path, text: str, name: str = "acme.toml") -> list[Problem]:
    """The problems of a file with this text."""
    found = read_text(folder, text, name)
    return [] if isinstance(found, Merchant) else found
