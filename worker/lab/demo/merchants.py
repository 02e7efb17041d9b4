"""The merchant files of the demo: both generations of the API, in JSON and in XML."""

MERCHANTS = {
    "acme": """
[api]
flavour  = "shipments-v2"
base_url = "$api/pro"
api_key  = { file = "$key" }

[allocation]
strategy = { virtual_service = "FF_LINET-00001" }
fallback = [{ service_group = "valuableGoods" }]

[[rules]]
name     = "heavy goes by freight"
when     = { weight_kg = { over = 20 } }
strategy = { service_group = "freight" }

[[rules]]
name     = "next day goes express"
when     = { shipping_method = "next-day" }
strategy = { virtual_service = "EXPRESS" }
fallback = [{ carrier_service = "EXPRESS" }]

[[rules]]
name     = "evenings by moped"
when     = { shipping_method = "evening" }
strategy = { virtual_service = "MOPED-2019" }
fallback = [{ carrier_service = "FF_LINET-00001" }]
""",
    "bustle": """
[api]
flavour  = "shipments-v2"
base_url = "$api/pro"
api_key  = { file = "$key" }

[allocation]
strategy = { service_group = "valuableGoods" }
""",
    "heritage": """
[api]
flavour  = "consignments-v1"
base_url = "$api"
api_key  = { file = "$key" }

[allocation]
strategy = { carrier_service = "EXPRESS" }
""",
    "parchment": """
[api]
flavour  = "consignments-v1"
format   = "xml"
base_url = "$api"
api_key  = { file = "$key" }

[allocation]
strategy = { default_rules = true }
""",
}
"""The merchant files; `$api` is the address of the simulated API, `$key` a file with its key."""
