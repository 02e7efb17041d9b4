"""`allocation sandbox` as a process, with a client for it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration.commands.cli_harness import PROGRAM, CliHarness


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxProcess:
    """A running process."""

    client: httpx.Client
    """Calls v2 and v1 with the default key."""
    process: subprocess.Popen[str]
    errors: Path
    """The file that it writes its standard error to."""

    def refused_by(self, reference: str, service: str) -> str | None:
        """Why a service does not take the shipment, by a v2 allocation to it; None if it does."""
        response = self.client.put(f"/pro/shipments/{reference}/allocate/service/{service}")
        return None if response.status_code == 200 else str(response.json()["details"][0]["message"])

    def cause(self, reference: str) -> tuple[int, str]:
        """Status and code of the error when the shipment is read."""
        response = self.client.get(f"/pro/shipments/{reference}")
        return response.status_code, response.json()["details"][0]["code"]


@contextmanager
def sandbox_process(cli: CliHarness, *words: str, stdin: str = "", **environment: str) -> Iterator[SandboxProcess]:
    """Start the command with these options and variables, and stop it at the end."""
    errors = cli.folder / "sandbox-errors"
    headers = {
        "x-api-key": "sandbox-key",
        "x-api-version": "1.1",
        "ocp-apim-subscription-key": "sandbox-key",
        "electio-api-version": "1.1",
    }
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [PROGRAM, "sandbox", *words],
            cwd=cli.folder,
            env={**cli.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
        ) as process,
    ):
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(stdin)
            process.stdin.close()
            url = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=url, headers=headers) as client:
                yield SandboxProcess(client=client, process=process, errors=errors)
        finally:
            process.terminate()
