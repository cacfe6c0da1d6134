"""Unit tests assert no timings: hypothesis' deadline would, on a busy machine."""

from hypothesis import settings

settings.register_profile("modelyard", deadline=None)
settings.load_profile("modelyard")
