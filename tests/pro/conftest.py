"""How the properties are tried."""

from hypothesis import settings

# A shared machine may stand still for longer than any deadline; the time of a whole run is bounded elsewhere.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
