"""Hypothesis profile: the same examples on every run, and no deadline, as the machine may be slow."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("steady")
