"""Carrier and price as values, for both flavours; None if nothing is stated."""

from tasks.rules.outcome import Carrier, Price
from worker.carrier_api.fields import text, token
from worker.carrier_api.prices import decimal_text

_NOBODY = Carrier()
_NO_PRICE = Price()


def carrier(reference: object, name: object, service_reference: object, service_name: object) -> Carrier | None:
    """The carrier service with these four names."""
    found = Carrier(
        reference=token(reference),
        name=text(name),
        service_reference=token(service_reference),
        service_name=text(service_name),
    )
    return None if found == _NOBODY else found


def price(net: object, gross: object, currency: object) -> Price | None:
    """The price in the API's own decimal text."""
    found = Price(net=decimal_text(net), gross=decimal_text(gross), currency=token(currency))
    return None if found == _NO_PRICE else found
