"""`allocation sandbox`: the simulated API as a process."""

import subprocess

import httpx

from tests.integration.commands.cli_harness import PROGRAM, CliHarness


def test_the_sandbox_uses_its_options(cli: CliHarness) -> None:
    """It prints its address, accepts the given keys, and ends on SIGTERM with exit code 0."""
    words = ["sandbox", "--key", "one", "--key", "two", "--no-auto-create"]
    with subprocess.Popen([PROGRAM, *words], cwd=cli.folder, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, headers={"x-api-version": "1.1"}) as client:
            responses = [client.get("/pro/shipments/sp_1", headers={"x-api-key": key}) for key in ("two", "three")]
        busy = cli.run("sandbox", "--port", url.rpartition(":")[2])
        process.terminate()
    assert [response.status_code for response in responses] == [404, 401]
    assert process.returncode == 0
    assert busy.code == 1
    assert "choose another --port" in busy.err
