"""Settings of every test."""

from hypothesis import settings

settings.register_profile("lcre", deadline=None)  # a busy machine is no failure
settings.load_profile("lcre")
