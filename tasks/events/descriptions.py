"""What the keys of events and merchant files mean, for the editors and readers of their JSON Schemas."""

_ENVELOPE = {
    "specversion": "The version of CloudEvents.",
    "id": "Identifies the event, together with its source.",
    "source": "Who published the event.",
    "type": "What the event says has happened.",
    "subject": "What the event is about, in the publisher's words.",
    "time": "When it happened, as RFC 3339 text with an offset.",
    "datacontenttype": "The media type of the data: JSON.",
    "data": "What has happened.",
}
_IN = {**_ENVELOPE, "data_base64": "Takes the place of `data`, as JSON text in base64: libraries write it for bytes."}
_OUT = {**_ENVELOPE, "id": "Derived from merchant and shipment: the same for the same event, so that duplicates show."}
_REFERENCE = "The vendor's reference, printable ASCII; `.` and `..` are none."
_MERCHANT, _API = "The merchant, as its file is called.", "The generation of the API that the plan is made for."

WORDS: dict[str, dict[str, str]] = {
    "OrderEvent": _IN,
    "OrderData": {
        "merchant": _MERCHANT,
        "order": "The order's number.",
        "shipments": "What is to be allocated, each for itself.",
        "shipping_method": "What the customer chose; rules may ask for it.",
        "deliver_by": "Until when the order should be delivered, as RFC 3339 text with an offset.",
    },
    "OrderShipment": {
        "reference": "The vendor's reference of the shipment (v2) or consignment (v1).",
        "weight_kg": "The weight in kilograms; rules may ask for it.",
        "value": "What the goods are worth.",
        "destination": "Where the shipment goes.",
        "tags": "Words that rules may ask for.",
    },
    "Value": {"amount": "A decimal number, best as text: it is never read as a float.", "currency": "Its currency."},
    "Destination": {
        "country": "The country, as rules state it.",
        "postcode": "The postcode; rules may ask how it begins.",
    },
    "ShipmentAllocated": _OUT,
    "ShipmentAllocationFailed": _OUT,
    "AllocatedData": {
        "merchant": _MERCHANT,
        "api": _API,
        "carrier": "Who has the shipment; null if the API did not say.",
        "price": "What it costs; null if the API did not say.",
        "tracking_references": "The carrier's references.",
        "labels": "Links to the labels; fetching one needs the merchant's API key.",
        "correlation_id": "The API's own id of the call, for its support.",
        "allocated_at": "When this was known, as RFC 3339 text.",
    },
    "Carrier": {
        "reference": "The carrier's reference.",
        "name": "The carrier's name.",
        "service_reference": "The service's reference.",
        "service_name": "The service's name.",
    },
    "Price": {
        "net": "Without tax, in the API's own decimal text.",
        "gross": "With tax, in the API's own decimal text.",
        "currency": "The currency of both.",
    },
    "Label": {"href": "Where the label is."},
    "FailedData": {
        "merchant": _MERCHANT,
        "api": _API,
        "reason": "Why the shipment will not be allocated.",
        "message": "The same for a person, with the API's own words.",
        "steps": "What was asked for, and what came of it, oldest first.",
        "failed_at": "When it failed, as RFC 3339 text.",
    },
    "Attempt": {
        "strategy": "What was asked for.",
        "outcome": "What the call came to.",
        "reason": "Why, as a code.",
        "correlation_id": "The API's own id of the call, for its support.",
    },
    "OrdersRejected": {"reason": "Why the event was not taken.", "error": "Where and what is wrong, for a person."},
    "MerchantFile": {
        "api": "Where and how the merchant's allocation API is called.",
        "allocation": "What is asked for when no rule matches.",
        "rules": "What is asked for instead; the first rule that matches counts.",
        "retry": "How often, how long, and how long a shipment is only read back after an open call.",
        "limits": "How much the API may be asked, over all workers.",
    },
    "Api": {
        "flavour": "The generation of the API.",
        "base_url": "Where the API is: https, without user, query and fragment. Plain http is for loopback and the "
        "hosts of ALLOCATION_ALLOW_HTTP_HOSTS.",
        "api_key": "Where the key is found; the key itself never stands here.",
        "format": "In what v1 is spoken; v2 has JSON only.",
        "bulk": "v2: whether the endpoints for many shipments are used for services and groups too.",
        "timeout_s": "The longest one call may take, in seconds; at most 0.6 of ALLOCATION_LEASE_SECONDS counts.",
    },
    "KeyFromEnv": {"env": "The name of the environment variable that holds the key: capitals, digits and underscores."},
    "KeyFromFile": {"file": "The path of the file that holds the key; it is read anew when it changes."},
    "Choice": {
        "strategy": "What is asked for first.",
        "fallback": "What is asked for when that is refused, one after the other.",
    },
    "Rule": {
        "strategy": "What is asked for first.",
        "fallback": "What is asked for when that is refused; without it the rule has no other step.",
        "name": "What `allocation explain` calls the rule; no two rules have the same, and none is `default`.",
        "when": "The conditions, all of which must hold.",
    },
    "Conditions": {
        "country": "One or several countries.",
        "postcode_prefix": "How the postcode begins; a blank at the end is part of it.",
        "shipping_method": "One or several shipping methods.",
        "tags_any": "Tags of which the shipment has at least one.",
        "tags_all": "Tags all of which the shipment has.",
        "currency": "One or several currencies of the goods' value.",
        "weight_kg": "The weight in kilograms: a number or a range.",
        "value": "What the goods are worth: a number or a range.",
        "shipments": "How many shipments the order has: a number or a range.",
    },
    "Range": {
        "over": "More than this.",
        "under": "Less than this.",
        "at_least": "This or more.",
        "at_most": "This or less.",
    },
    "Limits": {
        "in_flight": "Calls at once; 0 means no limit.",
        "per_second": "Calls a second, evenly spaced, fractions allowed; 0 means no limit.",
    },
    "VirtualService": {"virtual_service": _REFERENCE},
    "CarrierService": {"carrier_service": _REFERENCE},
    "ServiceGroup": {"service_group": _REFERENCE},
    "DefaultRules": {"default_rules": "The rules that the merchant has with the vendor decide."},
    "CheapestQuote": {"cheapest_quote": "The cheapest of all quotes."},
    "Quote": {"quote": "Which of the quotes is taken."},
    "Filters": {"filters": "What the service must be; the vendor takes the cheapest of these."},
    "ServiceFilters": {
        "direction": "Which way the shipment goes.",
        "pickup": "Whether the carrier picks it up; left out, it does not matter.",
        "drop_off": "Whether it is dropped off; left out, it does not matter.",
        "tags": "Tags all of which the service has; v2 only.",
    },
}
"""By the title of the schema."""
