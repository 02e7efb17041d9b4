"""Every command with a server that is unavailable, refuses, or has another password."""

import json
from collections.abc import Iterator

import pytest
import redis

from tests.integration.commands.cli_harness import CliHarness, order
from worker.lab.embedded_server import EmbeddedServer, free_port

COMMANDS = {
    "status": ["status"],
    "status as JSON": ["status", "--json"],
    "explain": ["explain", "sp_1"],
    "failed": ["failed"],
    "replay": ["replay", "sp_1"],
    "replay rejected": ["replay", "--rejected-all"],
    "publish": ["publish", "-"],
}
ACLS = {
    "may do nothing": ["-@all", "+ping"],
    "may not read": ["-@read"],
    "may not write or run scripts": ["-@write", "-@scripting"],
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that requires a password."""
    server = EmbeddedServer(tmp_path_factory.mktemp("guarded"))
    server.start()
    with redis.Redis(port=server.port) as admin:
        admin.config_set("requirepass", "open")
        admin.execute_command("AUTH", "open")
        for number, rights in enumerate(ACLS.values()):
            admin.execute_command("ACL", "SETUSER", f"u{number}", "on", ">open", "~*", "&*", "+@all", *rights)
    try:
        yield server
    finally:
        server.stop()


def urls(port: int) -> dict[str, str]:
    """URLs of unusable servers, one for each cause."""
    users = {what: f"redis://u{number}:open@127.0.0.1:{port}/0" for number, what in enumerate(ACLS)}
    return {
        "unavailable": f"redis://:sesame@127.0.0.1:{free_port()}/0",
        "another password": f"redis://:sesame@127.0.0.1:{port}/0",
        "no password": f"redis://127.0.0.1:{port}/0",
        "no such user": f"redis://me:sesame@127.0.0.1:{port}/0",
        "another host": "redis://:sesame@nowhere.invalid/0",
        **users,
    }


@pytest.mark.parametrize(
    "way", ["unavailable", "another password", "no password", "no such user", "another host", *ACLS]
)
def test_commands(cli: CliHarness, guarded: EmbeddedServer, way: str) -> None:
    """They end with exit code 1 and one plain message: cause, place and advice; no traceback and no password."""
    # Every command with an unavailable server; otherwise one that reads and one that writes.
    tried = (
        COMMANDS
        if way in {"unavailable", "another password"}
        else {name: COMMANDS[name] for name in ("status", "publish")}
    )
    for name, words in tried.items():
        result = cli.run(*words, stdin=json.dumps(order("sp_1")) + "\n", ALLOCATION_REDIS_URL=urls(guarded.port)[way])
        everything = result.out + result.err
        assert "Traceback" not in everything, (name, everything)
        assert "sesame" not in everything, name
        assert result.code == 1, (name, everything)
        if name == "status" and way == "may not write or run scripts":
            continue
        expected = "no response from redis://" if way in {"unavailable", "another host"} else " refuses: "
        assert expected in everything, (name, everything)
