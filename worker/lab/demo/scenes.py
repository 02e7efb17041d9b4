"""The scenes of the demo as data: orders, faults and expected results."""

from typing import Any

from worker.lab.demo.scene import Ending, Order, Parcel, Scene


def _acme(number: str, reference: str, **more: Any) -> Order:  # fields of Parcel, and the shipping method
    method = more.pop("shipping_method", "standard")
    return Order(merchant="acme", number=number, parcels=(Parcel(reference=reference, **more),), shipping_method=method)


_LOST = _acme("1007", "sp_00802615769404976542730318118918")
_THROTTLED = tuple(f"sp_0080261576940497654273031811893{n}" for n in range(3))

SCENES = (
    Scene(
        title="One call, one carrier",
        before="The shop of merchant acme sold a parcel of 1.2 kg. Its merchant file requests FF_LINET-00001, as "
        "in the example of PRO's help page.",
        after="PRO allocated the parcel to Lineten. The links lead to its labels, ready to print.",
        order=_acme("1001", "sp_00802615769404976542730318118912"),
        ending=Ending(service="FF_LINET-00001"),
    ),
    Scene(
        title="The same API, one generation older, in JSON",
        before="PRO v1 calls a shipment a consignment, and its paths, headers and responses differ. Merchant "
        "heritage still uses it.",
        after="The events are the same for both generations.",
        order=Order(merchant="heritage", number="501", parcels=(Parcel(reference="EC-000-05A-Z6S"),)),
        ending=Ending(service="EXPRESS"),
    ),
    Scene(
        title="The older generation again, in XML",
        before="Merchant parchment uses v1 with XML, and its default rules inside PRO.",
        after="The rules inside PRO chose the cheapest service that takes the parcel.",
        order=Order(merchant="parchment", number="77", parcels=(Parcel(reference="EC-000-05B-Q7T"),)),
        ending=Ending(service="FF_LINET-00001"),
    ),
    Scene(
        title="A rule: heavy goods by freight",
        before="acme sold a stove of 120 kg. A rule in acme's file sends parcels over 20 kg to a group of "
        "freight carriers.",
        after="The first rule that matched chose the group, and PRO chose the carrier within it.",
        order=_acme("1002", "sp_00802615769404976542730318118913", weight_kg=120.0),
        ending=Ending(rule="heavy goes by freight", service="HAUL-PALLET"),
    ),
    Scene(
        title="An ambiguous name",
        before="acme's next-day rule requests EXPRESS. In PRO both a carrier service and a group of services "
        "have that name, so PRO will refuse the call.",
        after="Refused as ambiguous; the rule's fallback step then requested the carrier service of that name.",
        order=_acme("1003", "sp_00802615769404976542730318118914", shipping_method="next-day"),
        ending=Ending(path=("refused", "allocated"), rule="next day goes express", service="EXPRESS"),
    ),
    Scene(
        title="An unknown name",
        before="acme's evening rule names MOPED-2019, which PRO no longer knows.",
        after="Not found; the fallback step allocated the parcel to Lineten. The rule needs fixing.",
        order=_acme("1004", "sp_00802615769404976542730318118915", shipping_method="evening"),
        ending=Ending(path=("refused", "allocated"), rule="evenings by moped", service="FF_LINET-00001"),
    ),
    Scene(
        title="Status 521: the carrier does not take it",
        before="A parcel to France. Lineten delivers within Britain only, so PRO will respond with 521, its own "
        "status for 'no carrier takes this'.",
        after="A 521 is a refusal, not an outage: the fallback step called a group with an international carrier.",
        order=_acme("1005", "sp_00802615769404976542730318118916", country="FR"),
        ending=Ending(path=("refused", "allocated"), service="DNQ72"),
    ),
    Scene(
        title="Status 521, and nothing left to try",
        before="A machine of 1500 kg: too heavy even for freight, and the rule has no fallback step.",
        after="It failed: a failed event with the reason and every step was published.",
        order=_acme("1006", "sp_00802615769404976542730318118917", weight_kg=1500.0),
        ending=Ending(path=("refused",), state="failed", rule="heavy goes by freight", reason="all_steps_refused"),
    ),
    Scene(
        title="A throttled merchant",
        before="Merchant bustle has exceeded its rate limit: PRO will respond to its next calls with 429 and "
        "'Retry-After: 2'.",
        after="Its shipments waited in the schedule, not in a worker, for at least the time in Retry-After.",
        order=Order(merchant="bustle", number="9", parcels=tuple(Parcel(reference=each) for each in _THROTTLED)),
        faults=(
            {
                "fault": "throttled",
                "on": "allocate",
                "references": list(_THROTTLED),
                "times_each": 1,
                "retry_after_s": 2,
            },
        ),
        ending=Ending(path=("throttled", "allocated"), service="DNQ72"),
    ),
    Scene(
        title="A response lost after the fact",
        before="PRO will allocate the next shipment, but the connection drops before its response arrives. Simply "
        "calling again could book, and pay, a second carrier.",
        after="The worker did not call again. It read the shipment back, found it allocated and adopted it.",
        order=_LOST,
        faults=(
            {
                "fault": "drop",
                "on": "allocate",
                "references": [parcel.reference for parcel in _LOST.parcels],
                "times": 1,
                "acts": True,
            },
        ),
        ending=Ending(path=("unknown", "allocated"), service="FF_LINET-00001", adopted=True),
    ),
    Scene(
        title="The same order twice",
        before="The shop, unsure whether its event arrived, publishes the last one again.",
        after="The ledger has the shipment: no second call, no second event.",
        order=_LOST,
        without_call=True,
        ending=Ending(path=("unknown", "allocated"), service="FF_LINET-00001", adopted=True),
    ),
    Scene(
        title="An invalid event",
        before="A shop publishes an incomplete event.",
        after="It was written to the rejected stream with the reason, where it can be fixed and replayed. "
        "Nothing else was delayed.",
        text='{"specversion": "1.0", "type": "order.cre',
        rejected="bad_json",
    ),
)
