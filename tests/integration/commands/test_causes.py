"""Causes of failures: what Redis counts equals the failures themselves, whatever was done to them."""

from collections import Counter

from tests.integration.commands.cli_harness import CliHarness, order

Causes = dict[tuple[str, str, str], int]


def causes(cli: CliHarness) -> Causes:
    """The counts by merchant, reason and strategy, which must equal those of the list."""
    found = cli.run("failed", "--json").document
    listed = cli.run("failed", "--list", "--json").document
    counted = {(each["merchant"], each["reason"], each["strategy"]): each["shipments"] for each in found}
    assert counted == Counter((each["merchant"], each["reason"], each["strategy"]) for each in listed)
    return counted


def fail(cli: CliHarness, *references: str, reason: str = "all_steps_refused") -> None:
    """Accept shipments, and let them fail."""
    cli.accept(order(*references, id=f"evt-{references[0]}"))
    cli.fail(reason=reason)  # type: ignore[arg-type]  # one of the literals


def test_each_failure_is_in_one_cause(cli: CliHarness) -> None:
    """After failures for several reasons, replays, new failures for another reason, and dismissals."""
    cli.merchant()
    fail(cli, "sp_1", "sp_2", "sp_3")
    fail(cli, "sp_4", reason="conflict")
    assert sorted(causes(cli).values()) == [1, 3]
    assert cli.run("replay", "sp_1", "sp_2").code == 0
    assert sorted(causes(cli).values()) == [1, 1]
    cli.fail(reason="deadline_passed")
    assert Counter({reason: number for (_, reason, _), number in causes(cli).items()}) == Counter(
        all_steps_refused=1, conflict=1, deadline_passed=2
    )
    assert cli.run("dismiss", "--reason", "deadline_passed", "--why", "test").code == 0
    assert cli.run("dismiss", "sp_4", "--why", "test").code == 0
    assert list(causes(cli).values()) == [1]


def test_expired_failures_do_not_count(cli: CliHarness) -> None:
    """They leave with the next failure of their cause, and the keys expire with the last one."""
    cli.merchant()
    fail(cli, "sp_1")
    (key,) = cli.do(lambda store, _: store.redis.keys("allocation:failed_cause:*"))
    cli.do(lambda store, _: store.redis.zadd(key, {"sp_1": 1}))
    cli.do(lambda store, _: store.redis.zadd("allocation:failed:acme", {"sp_1": 1}))
    assert causes(cli) == {}
    fail(cli, "sp_2")
    assert list(causes(cli).values()) == [1]
    assert cli.do(lambda store, _: store.redis.zrange(key, 0, -1)) == [b"sp_2"]
    assert cli.do(lambda store, _: store.redis.ttl(key)) > 0
    assert cli.do(lambda store, _: store.redis.ttl("allocation:failed_causes:acme")) > 0
