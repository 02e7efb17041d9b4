"""Alerts about events that need a person, as a protocol."""

from typing import Protocol

from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord


class Alerts(Protocol):
    """Receives the events that need a person."""

    def failed(self, shipment: Shipment, reason: str, message: str) -> None:
        """A shipment failed for good."""

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused."""

    def resumed(self, merchant: str, shipments: int) -> None:
        """A merchant's pause was lifted; `shipments` of its shipments are due again."""

    def call_repeated(self, shipment: Shipment) -> None:
        """A shipment was called again after an open call, which may take effect even after its quiet time."""

    def unreadable(self, found: UnreadableRecord) -> None:
        """A record cannot be parsed by this version."""

    def response_unreadable(self, shipment: Shipment, why: str) -> None:
        """A response of the API cannot be parsed."""
