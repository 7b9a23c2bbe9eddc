"""The naive gateway, for comparison: look whether the budget is spent, let the request go, charge it when it is over.

`python -m benchmarks.exactness.charge_after serve …` is `extproc serve …` in which nothing is ever held: the same
program otherwise. It is what most gateways do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.holds import Amounts, Ask, Full, Granted
from extproc.stores.reservations import Reservations


def charge_after() -> None:
    """Make every reservation ask for nothing, and every extension be granted."""
    original = Reservations.reserve

    async def reserve(self: Reservations, ask: Ask) -> Granted | Full:
        return await original(self, msgspec.structs.replace(ask, amounts=Amounts()))

    async def extend(*_: Any) -> Granted:
        return Granted(())

    Reservations.reserve = reserve  # type: ignore[method-assign]
    Reservations.extend = extend  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    from extproc.cli import main

    charge_after()
    main()
