"""Envoy leaves politely: new work stays away, what is in flight ends, and only then may Envoy be stopped.

First Envoy tells its clients to go (`connection: close`, GOAWAY) while it still accepts connections, so that nobody
meets a closed port for a request already on its way; then the ports close; then what is left gets the rest of the time.
All of it through Envoy's admin interface (https://www.envoyproxy.io/docs/envoy/latest/operations/admin).
"""

from __future__ import annotations

import asyncio

import msgspec

from extproc.supervisor import http_probe
from extproc.supervisor.http_probe import Unanswered

#: How long clients are asked to leave before the ports close.
LEAVE_SECONDS = 2.0
POLL_SECONDS = 0.1
_ACTIVE = "/stats?format=json&filter=^http\\.https?\\.downstream_rq_active$"


class _Gauge(msgspec.Struct):
    name: str = ""
    value: int = 0


class _Gauges(msgspec.Struct):
    stats: list[_Gauge]


class EnvoyAdmin:
    """Envoy's admin interface, as far as leaving needs it. Every method raises `Unanswered`."""

    def __init__(self, socket: str) -> None:
        self._connect = http_probe.over_unix(socket)

    async def ask_clients_to_leave(self) -> None:
        """Answers close their connections from now on."""
        await self._post("/healthcheck/fail")
        await self._post("/drain_listeners?graceful")

    async def close_ports(self) -> None:
        """No new connection is accepted; open ones go on."""
        await self._post("/drain_listeners")

    async def in_flight(self) -> int:
        """How many requests of clients are being answered."""
        answer = await http_probe.ask(self._connect, "GET", _ACTIVE)
        try:
            return sum(gauge.value for gauge in msgspec.json.decode(answer.body, type=_Gauges).stats)
        except msgspec.DecodeError as error:
            raise Unanswered(f"statistics are not understood: {error}") from None

    async def _post(self, path: str) -> None:
        answer = await http_probe.ask(self._connect, "POST", path)
        if answer.status != 200:
            raise Unanswered(f"{path} answers {answer.status}")


async def drain(admin: EnvoyAdmin, seconds: float, hurry: asyncio.Event) -> int:
    """Let what is in flight end; how many requests were still there when the time was over, or `hurry` was set.

    An Envoy that does not answer has nothing in flight that could be waited for.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        await admin.ask_clients_to_leave()
        await _until_idle(admin, min(deadline, asyncio.get_running_loop().time() + LEAVE_SECONDS), hurry)
        await admin.close_ports()
        return await _until_idle(admin, deadline, hurry)
    except Unanswered:
        return 0


async def _until_idle(admin: EnvoyAdmin, deadline: float, hurry: asyncio.Event) -> int:
    while True:
        left = await admin.in_flight()
        remaining = deadline - asyncio.get_running_loop().time()
        if not left or remaining <= 0 or hurry.is_set():
            return left
        try:
            await asyncio.wait_for(hurry.wait(), min(POLL_SECONDS, remaining))
        except TimeoutError:
            continue
