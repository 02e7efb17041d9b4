"""Properties of the client over real connections: one call, one outcome for each shipment, never an exception."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.rules.outcome import FOREIGN, PERMIT_EXPIRED, BulkRefused, Finding, NotSent, Outcome, Quoted, Refused
from tests.factories.raw_api import Request, account, listening, open_client, request, response
from tests.unit.carrier_api.responses import ALL, DEFAULT, OTHER, REF
from tests.unit.carrier_api.responses import api_response as read
from tests.unit.carrier_api.test_parser_properties import BODIES
from worker.carrier_api.bodies import as_utf8

PAGE, GOOD = response(502, b"<html></html>"), response(500, b"{}")
STATUSES = st.sampled_from([200, 201, 202, 207, 302, 400, 401, 403, 404, 407, 410, 429, 500, 521, 531])
HEADERS = st.lists(
    st.sampled_from(["date: now", "date: Sat, 21 Nov 2026 10:00:00 GMT", "retry-after: 5", "content-encoding: gzip"]),
    unique=True,
)


class Scene(NamedTuple):
    """A request and everything that may happen to it. `before`: an earlier response of the host."""

    what: str
    flavour: str
    shipments: int
    before: bytes | None
    late: bool
    status: int
    body: bytes
    headers: list[str]
    cut: int

    @property
    def references(self) -> tuple[str, ...]:
        """The shipments of the request."""
        return (REF, OTHER, "sp_3")[: self.shipments if self.what == "many" else 1]

    @property
    def is_own(self) -> bool:
        """Whether the API can have written it; a body that is wrongly declared as compressed is read as it is."""
        return read(self.status, as_utf8(self.body, "")).form == "own"

    @property
    def written(self) -> bytes:
        """The bytes that the API writes before it closes the connection."""
        whole = response(self.status, self.body, *self.headers)
        return whole[: len(whole) - min(self.cut, len(self.body))]


SCENES = st.builds(
    Scene,
    what=st.sampled_from(["one", "many", "with a quote", "quote", "read"]),
    flavour=st.sampled_from(["shipments-v2", "consignments-v1"]),
    shipments=st.integers(1, 3),
    before=st.sampled_from([None, PAGE, GOOD]),
    late=st.booleans(),
    status=STATUSES,
    body=BODIES | st.sampled_from([b"", b"null", b"[]", b"<html></html>", b"no"]),
    headers=HEADERS,
    cut=st.sampled_from([0, 0, 0, 1, 100]),
)


async def outcomes_of(scene: Scene) -> tuple[Mapping[str, Finding | Quoted], int]:
    """The outcome of each shipment, and the number of requests at the API."""
    responses = iter([scene.before, scene.written] if scene.before else [scene.written])

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(next(responses))
        await writer.drain()
        writer.close()

    async with listening(handler) as api, open_client() as client:
        merchant_account = account(api.url, {"quote": "cheapest"}, flavour=scene.flavour)
        if scene.before:
            await client.read_back(merchant_account, request())
        outgoing = request(*scene.references, within_s=0 if scene.late else 60)
        return await _send(client, merchant_account, scene, outgoing), len(api.requests) - bool(scene.before)


async def _send(client: Any, merchant_account: Any, scene: Scene, outgoing: Any) -> Mapping[str, Finding | Quoted]:
    strategy = merchant_account.merchant.file.allocation.strategy
    outcomes: Mapping[str, Finding | Quoted]
    match scene.what:
        case "read":
            outcomes = {REF: await client.read_back(merchant_account, outgoing)}
        case "quote":
            outcomes = {REF: await client.quote(merchant_account, strategy, outgoing)}
        case "with a quote":
            outcomes = await client.allocate(merchant_account, strategy, outgoing, quote="qu_1")
        case "many":
            outcomes = await client.allocate(merchant_account, DEFAULT, outgoing)
        case _:
            outcomes = await client.allocate(merchant_account, ALL[1], outgoing)
    return outcomes


@settings(max_examples=300)
@given(SCENES)
def test_outcomes_are_safe(scene: Scene) -> None:
    """One outcome for each shipment, of the possible kinds for the request; a foreign response is never certain."""
    outcomes, sent = asyncio.run(outcomes_of(scene))
    assert tuple(outcomes) == scene.references
    for outcome in outcomes.values():
        assert isinstance(outcome, get_args(Finding if scene.what == "read" else Outcome | Quoted))
        assert isinstance(outcome, BulkRefused) <= (scene.shipments > 1 and scene.what == "many")
        assert isinstance(outcome, Quoted) <= (scene.what == "quote")
        if scene.late:
            assert (type(outcome), outcome.reason, sent) == (NotSent, PERMIT_EXPIRED, 0)
        elif isinstance(outcome, NotSent):
            assert outcome.reason == FOREIGN
            assert scene.status in {*range(400, 500), 521, 531} - {429}
            assert not scene.is_own or scene.cut
        elif isinstance(outcome, Refused) and outcome.certain and not scene.cut and scene.status >= 400:
            assert scene.before == GOOD or scene.is_own
