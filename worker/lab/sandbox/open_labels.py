"""Labels for a browser: the file itself, without an API key.

The vendor's API requires the key and wraps the file in a document; so does the sandbox for a caller that sends a key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from worker.lab.sandbox.effect import Special
from worker.lab.sandbox.http_types import ApiError, Endpoint, Reply
from worker.lab.sandbox.labels import CONTENT_TYPES, DPI, NO_SUCH_LABEL, label_file
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import SHIPMENT_NOT_FOUND, WRONG_STATE


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLabel:
    """The endpoint of a label, and the API key of its shipment."""

    key: str
    endpoint: Endpoint


class OpenLabels:
    """Finds the label of a link of either generation, for the shipments of all API keys."""

    def __init__(self, depot: Depot, keys: Sequence[str], written: Callable[[ApiError], Reply]) -> None:
        """`keys`: the accepted ones, in the order in which shipments are looked for; `written`: an error's form."""
        self._depot = depot
        self._keys = keys
        self._written = written

    def find(self, segments: Sequence[str]) -> OpenLabel | ApiError:
        """The label of a path, or a 404 or 400. Creates no shipment."""
        match segments:
            case [_, reference]:
                return self._label(reference, "pdf")
            case [_, reference, form]:
                return self._label(reference, form)
            case [_, reference, form, dpi] if DPI.fullmatch(dpi):
                return self._label(reference, form)
            case _:
                return NO_SUCH_LABEL

    def _label(self, reference: str, form: str) -> OpenLabel | ApiError:
        if form not in CONTENT_TYPES:
            return NO_SUCH_LABEL
        for key in self._keys:
            if (key, reference) in self._depot.shipments:
                act = partial(self._act, key, reference, form)
                return OpenLabel(key=key, endpoint=Endpoint(kind="label", references=(reference,), act=act))
        return SHIPMENT_NOT_FOUND

    def _act(self, key: str, reference: str, form: str, now: float, _special: Special) -> Reply:
        shipment = self._depot.find(key, reference, now)
        if isinstance(shipment, ApiError):
            return self._written(shipment)
        if shipment.allocation is None:
            return self._written(WRONG_STATE)
        shipment.read_label(now)
        return Reply(status=200, body=label_file(reference, form), content_type=CONTENT_TYPES[form])
