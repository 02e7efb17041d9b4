"""The merchant files and settings as commands see them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant, read_all, short_quiet_time
from config.settings import Settings
from config.unknown_settings import NOT_A_SETTING, unknown_names
from worker.observability.problems.problem import KnownFiles
from worker.processes.merchant_files import account_of


def known_files(settings: Settings) -> KnownFiles:
    """The merchant files and settings as this process reads them, for commands."""
    valid, problems = read_all(settings.merchants_dir, settings.http_hosts)
    invalid: dict[str, str] = {}
    for problem in problems:
        if (name := Path(problem.file).stem) not in valid and problem.file.endswith(".toml"):
            invalid.setdefault(name, f"{problem.key}: {problem.text}" if problem.key else problem.text)
    accounts = (account_of(merchant, find_key(merchant.file.api.api_key)) for merchant in valid.values())
    return KnownFiles(
        apis={account.merchant.name: account.api for account in accounts},
        invalid=invalid,
        warnings=[*_warnings(valid.values())],
    )


def _warnings(merchants: Iterable[Merchant]) -> Iterator[str]:
    yield from (f"{place}: {name}: {NOT_A_SETTING}" for place, name in unknown_names())
    for merchant in merchants:
        if text := short_quiet_time(merchant):
            yield f"{merchant.name}.toml: retry.quiet_seconds: {text}"
