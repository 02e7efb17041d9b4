"""`allocation sandbox`: the simulated API as a process."""

from tests.integration.commands.cli_harness import CliHarness
from tests.integration.commands.sandbox_process import sandbox_process


def test_the_sandbox_uses_its_options(cli: CliHarness) -> None:
    """It prints its address, accepts the given keys, and ends on SIGTERM with exit code 0."""
    with sandbox_process(cli, "--key", "one", "--key", "two", "--no-auto-create") as sandbox:
        headers = [{"x-api-key": key} for key in ("two", "three")]
        responses = [sandbox.client.get("/pro/shipments/sp_1", headers=each) for each in headers]
        busy = cli.run("sandbox", "--port", str(sandbox.client.base_url.port))
    assert [response.status_code for response in responses] == [404, 401]
    assert sandbox.process.returncode == 0
    assert busy.code == 1
    assert "choose another --port" in busy.err


def test_the_help_is_short(cli: CliHarness) -> None:
    """The help fits a screen and names the page with everything else."""
    result = cli.run("sandbox", "--help")
    assert "docs/sandbox.md" in result.out
    assert len(result.out.splitlines()) < 50
