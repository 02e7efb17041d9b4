"""Headers and bodies of v1, which no OpenAPI document describes."""

import json

from config.strategies.strategy import V1
from tests.unit.carrier_api.responses import DEFAULT, EC, GROUP
from worker.carrier_api.dialect import dialect_for, target
from worker.carrier_api.v1.dialect import ConsignmentsV1


def test_headers_of_v1() -> None:
    """Key and version have v1's own names, and the merchant's format is accepted and sent."""
    assert ConsignmentsV1(format="xml").headers("secret") == {
        "ocp-apim-subscription-key": "secret",
        "electio-api-version": "1.1",
        "accept": "application/xml",
        "content-type": "application/xml",
    }
    assert ConsignmentsV1().headers("secret")["content-type"] == "application/json"


def test_bodies_of_v1() -> None:
    """A v1 body is JSON or XML, as the merchant chose; a call without a body has none in either format."""
    call = DEFAULT.request(V1, [EC])
    assert json.loads(dialect_for(V1).encode(call) or b"") == {"ConsignmentReferences": [EC]}
    assert b"<AllocateConsignmentsRequest" in (dialect_for(V1, "xml").encode(call) or b"")
    assert dialect_for(V1, "xml").encode(GROUP.request(V1, [EC])) is None


def test_read_back_of_v1() -> None:
    """The full consignment is read, not its short status: the response must contain carrier and price."""
    assert target(dialect_for(V1).read_back_request(EC)) == f"/consignments/{EC}"
