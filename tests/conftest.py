"""One profile for property tests: no deadline, since a shared machine's pauses say nothing about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
