"""The merchant files and settings as commands see them."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant, short_quiet_time
from config.merchant_files.reading import Problem, read_all
from config.settings import Settings
from config.unknown_settings import NOT_A_SETTING, unknown_names
from worker.observability.problems.problem import KnownFiles
from worker.processes.merchant_files import MerchantFiles, account_of


def known_files(settings: Settings) -> KnownFiles:
    """The merchant files and settings as this process reads them, for commands."""
    valid, problems = read_all(settings.merchants_dir, settings.http_hosts)
    return _known(
        settings.merchants_dir, valid.values(), [each for each in problems if Path(each.file).stem not in valid]
    )


def files_of(files: MerchantFiles) -> KnownFiles:
    """The same for a process that keeps running: only changed files are read."""
    in_use = [merchant for name in files.names() if (merchant := files.get(name))]
    return _known(files.folder, in_use, [problem for problems in files.problems.values() for problem in problems])


def _known(folder: Path, valid: Collection[Merchant], problems: Iterable[Problem]) -> KnownFiles:
    invalid: dict[str, str] = {}
    for problem in problems:
        if problem.file.endswith(".toml"):
            text = f"{problem.key}: {problem.text}" if problem.key else problem.text
            invalid.setdefault(Path(problem.file).stem, text)
    apis = {each.name: account_of(each, find_key(each.file.api.api_key)).api for each in valid}
    usable = {name: api for name, api in apis.items() if name not in invalid}
    since = {name: at for name in invalid if (at := _written_at(folder / f"{name}.toml")) is not None}
    return KnownFiles(apis=usable, invalid=invalid, invalid_since=since, warnings=[*_warnings(valid)])


def _written_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _warnings(merchants: Iterable[Merchant]) -> Iterator[str]:
    yield from (f"{place}: {name}: {NOT_A_SETTING}" for place, name in unknown_names())
    for merchant in merchants:
        if text := short_quiet_time(merchant):
            yield f"{merchant.name}.toml: retry.quiet_seconds: {text}"
