"""v2 links to labels, and their formats."""

from typing import Any

import pytest

from tasks.rules.outcome import Allocated, Label
from tests.unit.carrier_api.responses import api_response, v2
from tests.unit.carrier_api.test_results_v2 import LABEL, result


@pytest.mark.parametrize(
    ("link", "label"),
    [
        (LABEL, "pdf"),
        ({**LABEL, "rel": "x", "type": "LABEL"}, "pdf"),
        ({**LABEL, "href": "http://h/labels/x", "rel": "ZPL", "type": "Label"}, "zpl"),
        ({**LABEL, "href": "http://h/labels/x/ZPL?dpi=203#a"}, "zpl"),
        ({**LABEL, "href": "http://h/labels/x/pdf/203"}, "pdf"),
        ({**LABEL, "href": "http://h/labels/x"}, None),
        ({**LABEL, "href": "http://h/labels/x", "rel": "zpl", "type": None}, "zpl"),
    ],
)
def test_label(link: dict[str, Any], label: str | None) -> None:
    """A label is recognized by its type or relation, its format by the path or the relation."""
    outcome = v2(api_response(200, result(_links=[link])))
    assert isinstance(outcome, Allocated)
    assert outcome.labels == (Label(href=link["href"], format=label),)


@pytest.mark.parametrize(
    "link",
    [
        {**LABEL, "rel": "shipment", "type": "shipment"},
        {**LABEL, "href": "javascript:alert(1)"},
        {**LABEL, "href": "/labels/x/pdf"},
        {**LABEL, "href": None},
        {"rel": "label"},
        "label",
        None,
    ],
)
def test_no_label(link: object) -> None:
    """Only http links with the type or relation of a label are labels."""
    assert v2(api_response(200, result(_links=[link, LABEL, LABEL]))) == v2(api_response(200, result(_links=[LABEL])))
