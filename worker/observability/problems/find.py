"""Finds all problems in an overview. Pure; status, logs and pages use the same."""

from collections.abc import Mapping

from config.settings import Settings
from worker.observability.overview import Overview
from worker.observability.problems import merchants, system
from worker.observability.problems.problem import KnownFiles, Problem


def find_problems(
    overview: Overview, queues: Mapping[str, int] | str, files: KnownFiles, settings: Settings
) -> list[Problem]:
    """All problems, urgent ones first. `queues`: the depths of the broker's queues, or why they are unknown."""
    found = [
        *system.of_broker(queues),
        *system.of_processes(overview, settings),
        *system.of_orders(overview),
        *system.of_breakers(overview, files),
        *merchants.of_merchants(overview, files, settings),
        *merchants.of_unknown_merchants(overview),
        *system.of_rejected(overview),
        *system.of_server(overview),
        *system.of_settings(files),
        *system.of_differences(overview),
    ]
    return sorted(found, key=lambda problem: problem.severity != "urgent")
