"""`allocation publish`: all events or none, as they stand."""

import json
from typing import Any

from tests.integration.commands.cli_harness import Scene, order


def published(scene: Scene) -> list[tuple[str, bytes]]:
    """The entries of the orders stream."""

    async def act(store: Any, _: Any) -> Any:
        return await store.redis.xrange(scene.settings.orders_stream)

    return [(stream_id.decode(), fields[b"event"]) for stream_id, fields in scene.do(act)]


def test_events_are_published_as_they_stand(scene: Scene) -> None:
    """Files and standard input are read in order, and each text becomes the field `event` of an entry."""
    one, two, three = (json.dumps(order("a"), indent=1), json.dumps(order("b")), json.dumps(order("c"), indent=2))
    (scene.folder / "one.json").write_text(one)
    (scene.folder / "two.jsonl").write_text(f"{two}\n")
    said = scene.run("publish", "one.json", "-", "two.jsonl", "--json", stdin=f"[{three}]")
    assert said.code == 0
    assert [event.decode() for _, event in published(scene)] == [one, three, two]
    assert said.document == {"published": 3, "ids": [stream_id for stream_id, _ in published(scene)]}


def test_a_wrong_event_stops_all(scene: Scene) -> None:
    """File, line and reason of every wrong event are named, and nothing is published."""
    (scene.folder / "orders.jsonl").write_text(f'{json.dumps(order("a"))}\n{{"x": "\x1b[31m"\n{json.dumps(order())}\n')
    said = scene.run("publish", "orders.jsonl")
    assert said.code == 1
    assert "orders.jsonl:2: bad_json: " in said.err
    assert "orders.jsonl:3: bad_order: data.shipments: " in said.err
    assert "2 of 3 events would be rejected, so none was published" in said.err
    assert "\x1b" not in said.err
    assert published(scene) == []


def test_one_may_insist(scene: Scene) -> None:
    """Without validation anything is published, to see what becomes of it."""
    said = scene.run("publish", "-", "--no-validate", stdin="{nonsense}\n")
    assert (said.code, said.out) == (0, "published 1 event\n")
    assert [event for _, event in published(scene)] == [b"{nonsense}"]


def test_the_rate_is_kept(scene: Scene) -> None:
    """Events a rate apart are that far apart in the stream."""
    events = "\n".join(json.dumps(order(reference)) for reference in "abc")
    assert scene.run("publish", "-", "--rate", "10", stdin=events).code == 0
    first, *_, last = (int(stream_id.partition("-")[0]) for stream_id, _ in published(scene))
    assert last - first >= 190


def test_nothing_to_publish_is_a_problem(scene: Scene) -> None:
    """An empty file is hardly meant."""
    said = scene.run("publish", "-")
    assert said.code == 1
    assert "no event found" in said.err


def test_a_server_that_is_away_is_named_without_its_password(scene: Scene) -> None:
    """The error says where nobody answered."""
    away = "redis://user:pa55word@127.0.0.1:1/0"
    said = scene.run("publish", "-", stdin=json.dumps(order("a")), ALLOCATION_REDIS_URL=away)
    assert said.code == 1
    assert "no response from redis://127.0.0.1:1/0" in said.err
    assert "pa55word" not in said.err
