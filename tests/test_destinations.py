"""Hosts of stored models are looked up, judged and kept."""

from __future__ import annotations

import asyncio
import logging
import socket

import msgspec
import pytest

from extproc import destinations
from extproc.destinations import Resolved
from extproc.errors import ConfigError
from extproc.model import Upstream
from extproc.policy.destinations import NAMES, Destinations

HERE = Destinations(networks=("127.0.0.0/8",))
CONFIGURED = Upstream("configured", "https", "provider.example", 443, "/v1")


def upstream(host: str, port: int = 443) -> Upstream:
    return Upstream(NAMES["https"], "https", host, port, "/v1", stored=True)


class Names:
    """A name server whose answers a test writes: addresses, or the error."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        answer = self.answers[host]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return ["8.8.8.8"]
        return answer


def address(found: Resolved, of: Upstream) -> str:
    return dict(found.way(of)).get(b"x-extproc-address", b"").decode()


async def test_the_system_resolves_names_and_takes_addresses_as_they_are():
    assert "127.0.0.1" in await destinations.look_up("localhost")
    assert await destinations.look_up("8.8.8.8") == ["8.8.8.8"]
    # What looks like no address and is one in C is judged by what it leads to.
    assert await destinations.look_up("127.1") == ["127.0.0.1"]


async def test_a_configured_host_needs_no_header():
    found = Resolved(HERE)
    await found.follow([CONFIGURED])
    await found.check(CONFIGURED)

    assert found.way(CONFIGURED) == ()


async def test_a_host_is_known_when_it_is_followed():
    found = Resolved(HERE)
    await found.follow([upstream("localhost", 8443)])

    assert address(found, upstream("localhost", 8443)) == "127.0.0.1:8443"
    assert address(found, upstream("localhost", 9443)) == "127.0.0.1:9443"
    assert found.way(upstream("localhost")) is found.way(upstream("localhost"))


async def test_a_name_that_leads_to_a_forbidden_address_is_refused_and_never_led_to(caplog):
    found = Resolved(Destinations())
    await found.follow([upstream("localhost")])

    assert found.way(upstream("localhost")) == ()
    with pytest.raises(ConfigError, match="localhost resolves to no address that stored models may lead to"):
        await found.check(upstream("localhost"))
    (record,) = [each for each in caplog.records if each.message == "stored_model_host_unreachable"]
    assert record.host == "localhost"


async def test_of_a_public_and_a_private_address_only_the_public_one_is_ever_led_to():
    found = Resolved(Destinations(), Names(mixed=["127.0.0.1", "8.8.8.8", "169.254.169.254"]))
    await found.follow([upstream("mixed")])
    await found.check(upstream("mixed"))

    seen = set()
    for _ in range(3):
        seen.add(address(found, upstream("mixed")))
        found.failed(upstream("mixed"))
    assert seen == {"8.8.8.8:443"}


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError(), TimeoutError()])
async def test_a_name_that_is_not_known_is_told_once_and_may_become_known(caplog, monkeypatch, error):
    monkeypatch.setattr(destinations, "REFRESH_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    names = Names(late=error)
    found = Resolved(Destinations(), names)
    await found.check(upstream("late"))
    await found.follow([upstream("late")])
    assert found.way(upstream("late")) == ()

    refreshing = asyncio.create_task(found.refresh_until_cancelled())
    async with asyncio.timeout(30):
        while len(names.asked) < 5:
            await asyncio.sleep(0.01)
        names.answers["late"] = ["8.8.8.8"]
        while not address(found, upstream("late")):
            await asyncio.sleep(0.01)
    refreshing.cancel()
    told = [record.message for record in caplog.records if record.message.startswith("stored_model_host")]
    assert told == ["stored_model_host_unreachable", "stored_model_host_found"]


async def test_what_was_found_last_serves_while_no_name_server_answers_but_not_once_it_leads_elsewhere(monkeypatch):
    monkeypatch.setattr(destinations, "REFRESH_SECONDS", 0.01)
    names = Names(host=["8.8.8.8"])
    found = Resolved(Destinations(), names)
    await found.follow([upstream("host")])
    refreshing = asyncio.create_task(found.refresh_until_cancelled())

    async def refreshed() -> None:
        async with asyncio.timeout(30):
            before = len(names.asked)
            while len(names.asked) < before + 2:
                await asyncio.sleep(0.01)

    names.answers["host"] = socket.gaierror(-3, "Temporary failure in name resolution")
    await refreshed()
    assert address(found, upstream("host")) == "8.8.8.8:443"
    names.answers["host"] = ["10.0.0.1"]
    await refreshed()
    assert found.way(upstream("host")) == ()
    names.answers["host"] = ["8.8.8.8"]
    await refreshed()
    names.answers["host"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    await refreshed()
    assert found.way(upstream("host")) == ()
    refreshing.cancel()


async def test_what_nobody_wants_any_more_is_forgotten_and_not_asked_for(monkeypatch):
    monkeypatch.setattr(destinations, "REFRESH_SECONDS", 0.01)
    names = Names(old=["8.8.8.8"], new=["8.8.4.4"])
    found = Resolved(Destinations(), names)
    await found.follow([upstream("old")])
    await found.follow([upstream("new")])
    assert address(found, upstream("old")), "an exchange that is in flight may still lead there"

    refreshing = asyncio.create_task(found.refresh_until_cancelled())
    async with asyncio.timeout(30):
        while names.asked.count("new") < 3:
            await asyncio.sleep(0.01)
    refreshing.cancel()
    assert (found.way(upstream("old")), names.asked.count("old")) == ((), 1)


async def test_an_address_that_failed_goes_to_the_end_and_stays_there(monkeypatch):
    names = Names(host=["8.8.8.8", "8.8.4.4", "1.1.1.1"])
    found = Resolved(Destinations(), names)
    await found.follow([upstream("host")])
    found.failed(upstream("host"))
    assert address(found, upstream("host")) == "8.8.4.4:443"

    monkeypatch.setattr(destinations, "REFRESH_SECONDS", 0.01)
    names.answers["host"] = ["1.1.1.1", "8.8.8.8", "8.8.4.4"]
    refreshing = asyncio.create_task(found.refresh_until_cancelled())
    async with asyncio.timeout(30):
        while len(names.asked) < 3:
            await asyncio.sleep(0.01)
    refreshing.cancel()
    assert address(found, upstream("host")) == "8.8.4.4:443"


async def test_a_slow_name_keeps_nobody_waiting_and_serves_once_it_is_known(monkeypatch):
    monkeypatch.setattr(destinations, "PATIENCE_SECONDS", 0.01)
    gate = asyncio.Event()
    names = Names(slow=gate, fast=["8.8.4.4"])
    found = Resolved(Destinations(), names)
    await found.follow([upstream("slow"), upstream("fast")])
    await found.follow([upstream("slow"), upstream("fast")])
    assert (address(found, upstream("slow")), address(found, upstream("fast"))) == ("", "8.8.4.4:443")

    gate.set()
    async with asyncio.timeout(30):
        while not address(found, upstream("slow")):
            await asyncio.sleep(0.01)
    assert names.asked.count("slow") == 1


async def test_a_silent_name_server_is_given_up(monkeypatch, caplog):
    monkeypatch.setattr(destinations, "LOOK_UP_SECONDS", 0.01)
    found = Resolved(Destinations(), Names(silent=asyncio.Event()))
    await found.check(upstream("silent"))
    await found.follow([upstream("silent")])

    assert [record.reason for record in caplog.records] == ["no name server answered"]


async def test_every_field_of_an_upstream_tells_it_from_others():
    found = Resolved(HERE)
    await found.follow([upstream("localhost")])
    other = msgspec.structs.replace(upstream("localhost"), base_path="/v2")

    assert dict(found.way(other))[b"x-extproc-base-path"] == b"/v2"
