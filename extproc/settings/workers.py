"""What several workers must share: keys and ledger in PostgreSQL, counters in Redis. One may keep both itself."""

from __future__ import annotations

from extproc.errors import ConfigError
from extproc.settings.model import Settings


def check(settings: Settings, workers: int) -> None:
    """Raises `ConfigError`, with one sentence, where these settings do not do for so many workers."""
    missing = []
    if settings.database_url is None:
        missing.append("general_settings.database_url (PostgreSQL)")
    if not settings.counters_are_shared:
        missing.append("router_settings.redis_url or redis_host")
    if workers > 1 and missing:
        raise ConfigError(f"--workers {workers} needs stores that all workers share: set {' and '.join(missing)}")
