"""One allocation: the services that a strategy selects, and the result for the shipment. Shared by v1 and v2."""

from dataclasses import dataclass

from worker.lab.sandbox.catalogue import GROUPS, SERVICES, Exclusion, Service, excluded
from worker.lab.sandbox.effect import AT_ONCE, Effect
from worker.lab.sandbox.http_types import ApiError, Detail, caused
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import RULE_CONFLICT, WRONG_STATE, Allocation, SimulatedShipment

Pick = tuple[Service, ...] | ApiError
"""The services that a strategy chooses from."""

_MISSING = "missing_"
"""An unknown virtual service with this prefix is a 400; any other is a 404. The vendor documents both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WasAllocated:
    """The shipment was allocated; `exclusions` are the selected services that do not take it."""

    shipment: SimulatedShipment
    allocation: Allocation
    exclusions: tuple[Exclusion, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The shipment was queued."""

    shipment: SimulatedShipment


Result = WasAllocated | Waiting | ApiError


def by_service(reference: str) -> Pick:
    """One carrier service."""
    if reference in SERVICES:
        return (SERVICES[reference],)
    return caused(400, "validation_error", "invalid_carrier_service", f"There is no carrier service {reference}.")


def by_group(reference: str) -> Pick:
    """The services of a group."""
    found = GROUPS.get(reference)
    return found or ApiError(status=404, code="not_found", message=f"There is no service group {reference}.")


def by_virtual(reference: str) -> Pick:
    """A service or a group, whichever has the reference (help page "Allocating with a Virtual Service")."""
    if reference in SERVICES and reference in GROUPS:
        message = f"{reference} is both a carrier service and a service group."
        return caused(400, "validation_error", "non_unique_reference", message)
    if reference in SERVICES:
        return (SERVICES[reference],)
    if reference in GROUPS:
        return GROUPS[reference]
    message = f"{reference} is neither a carrier service nor a service group."
    if reference.startswith(_MISSING):
        return caused(400, "validation_error", "virtual_service_not_found", message)
    return ApiError(status=404, code="not_found", message=message)


def allocate(depot: Depot, *, key: str, reference: str, pick: Pick, now: float, effect: Effect = AT_ONCE) -> Result:
    """Allocate one shipment to one of the selected services, unless a fault changes that."""
    shipment = depot.gate(key, reference, now)
    if isinstance(shipment, ApiError):
        return _wrong(effect) if shipment is WRONG_STATE else shipment
    if isinstance(pick, ApiError):
        return pick
    match effect.kind:
        case "at_once" | "skipped":
            return _decided(depot, shipment, pick, now)
        case "refused":
            return _wrong(effect)
        case "late" | "lost" | "queued" | "stuck":
            depot.accept(shipment, pick, now, effect)
            return Waiting(shipment=shipment)


def _wrong(effect: Effect) -> ApiError:
    return RULE_CONFLICT if effect.conflict else WRONG_STATE


def _decided(depot: Depot, shipment: SimulatedShipment, pick: tuple[Service, ...], now: float) -> Result:
    exclusions = excluded(pick, shipment.facts)
    allocation = depot.allocate(shipment, pick, now)
    if allocation is None:
        return _refused(pick, exclusions)
    return WasAllocated(shipment=shipment, allocation=allocation, exclusions=exclusions)


def _refused(pick: tuple[Service, ...], exclusions: tuple[Exclusion, ...]) -> ApiError:
    """No service takes the shipment: status 521, with the reason of each service."""
    message = "The shipment could not be allocated."
    details = tuple(
        Detail(code="carrier_service_shipment_mismatch", message=each.reason, concerns=each.service.reference)
        for each in exclusions
    )
    if len(pick) != 1:
        details = (Detail(code="carrier_service_not_found", message="No carrier service is eligible."), *details)
    return ApiError(status=521, code="allocation_failed", message=message, details=details)
