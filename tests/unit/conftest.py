"""How the properties are tried: the same examples on every run, and no deadline on a machine that may stand still."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("steady")
