"""`allocation publish`: all events or none, unchanged."""

import json
from typing import Any

from tests.integration.commands.cli_harness import CliHarness, order


def published(cli: CliHarness) -> list[tuple[str, bytes]]:
    """The entries of the orders stream."""

    async def act(store: Any, _: Any) -> Any:
        return await store.redis.xrange(cli.settings.orders_stream)

    return [(stream_id.decode(), fields[b"event"]) for stream_id, fields in cli.do(act)]


def test_events_are_published_unchanged(cli: CliHarness) -> None:
    """Files and standard input are read in order, and each text becomes the field `event` of an entry."""
    one, two, three = (json.dumps(order("a"), indent=1), json.dumps(order("b")), json.dumps(order("c"), indent=2))
    (cli.folder / "one.json").write_text(one)
    (cli.folder / "two.jsonl").write_text(f"{two}\n")
    result = cli.run("publish", "one.json", "-", "two.jsonl", "--json", stdin=f"[{three}]")
    assert result.code == 0
    assert [event.decode() for _, event in published(cli)] == [one, three, two]
    assert result.document == {"published": 3, "ids": [stream_id for stream_id, _ in published(cli)]}


def test_an_invalid_event_stops_all(cli: CliHarness) -> None:
    """File, line and reason of every invalid event are reported, and nothing is published."""
    (cli.folder / "orders.jsonl").write_text(f'{json.dumps(order("a"))}\n{{"x": "\x1b[31m"\n{json.dumps(order())}\n')
    result = cli.run("publish", "orders.jsonl")
    assert result.code == 1
    assert "orders.jsonl:2: bad_json: " in result.err
    assert "orders.jsonl:3: bad_order: data.shipments: " in result.err
    assert "2 of 3 events would be rejected, so none was published" in result.err
    assert "\x1b" not in result.err
    assert published(cli) == []


def test_validation_can_be_disabled(cli: CliHarness) -> None:
    """Without validation, any event is published."""
    result = cli.run("publish", "-", "--no-validate", stdin="{nonsense}\n")
    assert (result.code, result.out) == (0, "published 1 event\n")
    assert [event for _, event in published(cli)] == [b"{nonsense}"]


def test_the_rate_limit(cli: CliHarness) -> None:
    """Consecutive entries have the interval of the given rate."""
    events = "\n".join(json.dumps(order(reference)) for reference in "abc")
    assert cli.run("publish", "-", "--rate", "10", stdin=events).code == 0
    first, *_, last = (int(stream_id.partition("-")[0]) for stream_id, _ in published(cli))
    assert last - first >= 190


def test_nothing_to_publish_is_a_problem(cli: CliHarness) -> None:
    """An empty file is an error."""
    result = cli.run("publish", "-")
    assert result.code == 1
    assert "no event found" in result.err


def test_an_unavailable_server_is_named_without_its_password(cli: CliHarness) -> None:
    """The error contains the server's address."""
    unavailable = "redis://user:pa55word@127.0.0.1:1/0"
    result = cli.run("publish", "-", stdin=json.dumps(order("a")), ALLOCATION_REDIS_URL=unavailable)
    assert result.code == 1
    assert "no response from redis://127.0.0.1:1/0" in result.err
    assert "pa55word" not in result.err
