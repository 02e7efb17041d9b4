"""A Prometheus server for a test, with the shipped rules at a pace that a test can wait for."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.system import ROOT, wait_until
from worker.lab.embedded_server import free_port

FOLDER = ROOT / "docs/monitoring"
PACE = {
    r"for: \w+": "for: 2s",
    r"interval: 1m": "interval: 1s",
    r"\[10m\]": "[20s]",
    r"\[1d\] offset 10m": "[60s] offset 20s",
}
"""What is rewritten in the rules: how long they wait, and the times that they compare."""
CONFIG = """
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: allocation
    metrics_path: /allocation/metrics
    static_configs: [{{targets: ["{target}"]}}]
"""


def quick_rules() -> str:
    """The shipped rules, in which only times differ."""
    text = (FOLDER / "alerts.yml").read_text()
    for pattern, quick in PACE.items():
        text, times = re.subn(pattern, quick, text)
        assert times, pattern
    return text


class Prometheus:
    """A running server, asked over its API."""

    def __init__(self, url: str) -> None:
        """`url`: its address."""
        self._client = httpx.Client(base_url=url, timeout=30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        response = self._client.get("/api/v1/query", params={"query": expression})
        document = response.json()
        assert document["status"] == "success", f"{expression}: {document}"
        result: list[dict[str, Any]] = document["data"]["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """The firing alerts."""
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return [each for each in alerts if each["state"] == "firing"]

    def firing(self) -> set[tuple[str, str]]:
        """The name of each, and the merchant, host or process."""
        found = [each["labels"] for each in self.alerts()]
        return {(labels["alertname"], labels.get("subject") or labels.get("merchant", "")) for labels in found}

    def description(self, alert: str) -> str:
        """The description of the only firing alert of this name."""
        (found,) = [each for each in self.alerts() if each["labels"]["alertname"] == alert]
        return str(found["annotations"]["description"])

    def is_ready(self) -> bool:
        """Whether it has scraped and evaluated."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            return bool(self.query('up{job="allocation"} == 1'))
        return False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextlib.contextmanager
def scraping(binary: Path, folder: Path, target: str) -> Iterator[Prometheus]:
    """A server that scrapes this host and port every two seconds, with the shipped rules."""
    rules, config, port = folder / "alerts.yml", folder / "prometheus.yml", free_port()
    rules.write_text(quick_rules())
    config.write_text(CONFIG.format(rules=rules, target=target))
    data, address = folder / "data", f"127.0.0.1:{port}"
    words = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([binary, *words], stdout=log, stderr=log, cwd=folder)
    server = Prometheus(f"http://{address}")
    try:
        wait_until(server.is_ready, 30, "a scrape by Prometheus")
        yield server
    finally:
        server.close()
        process.terminate()
        process.wait(30)
