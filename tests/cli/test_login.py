"""`extproc login` keeps a key that a person got by single sign-on; `extproc logout` ends it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import socket
import threading
import tomllib
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
from cli.running_management import MASTER, running_management
from identity_provider import IdentityProvider, running_identity_provider
from management.logging_in import RING, row

from extproc.cli import login, profiles
from extproc.identity_providers.house import IdentityProviders
from extproc.policy import sso


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    """In a thread of its own: the command does not run in a loop."""
    started, found = threading.Event(), []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with running_identity_provider() as running:
            found.append(running)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def gateway(tmp_path: Path, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("EXTPROC_URL", "EXTPROC_API_KEY", "EXTPROC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = sso.SingleSignOn(providers=(row(provider.issuer),))

    def parts(url: str) -> dict[str, Any]:
        at_home = msgspec.structs.replace(settings, base_url=url)
        return {"identity_providers": IdentityProviders(at_home), "keyring": lambda: RING}

    with running_management(tmp_path, parts) as url:
        yield url


class Browser:
    """Opens one address, as a person who logs in would, goes wherever it is sent, and clicks what it is shown."""

    def __init__(self, first: str = "") -> None:
        self.first = first
        self.visited: list[str] = []
        self._threads: list[threading.Thread] = []

    def open(self, address: str) -> bool:
        thread = threading.Thread(target=self._visit, args=(address,))
        thread.start()
        self._threads.append(thread)
        return True

    def _visit(self, address: str) -> None:
        port = parse_qs(urlsplit(address).query)["cli_port"][0]
        with httpx.Client(follow_redirects=True, timeout=30) as client:
            if self.first:
                assert client.get(f"http://127.0.0.1:{port}{self.first}").status_code == 404
            asked = client.get(address)
            (link,) = re.findall(r'href="([^"]+)"', asked.text)
            shown = client.get(html.unescape(link))
        self.visited += [str(each.url) for each in (*asked.history, asked, shown)]
        self.page = shown.text

    def close(self) -> None:
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    found = Browser()
    monkeypatch.setattr(webbrowser, "open", found.open)
    with contextlib.closing(found):
        yield found


def kept(tmp_path: Path) -> dict[str, Any]:
    return tomllib.loads((tmp_path / "config" / "llm-extproc" / "profiles.toml").read_text())


def test_a_person_logs_in_uses_the_gateway_and_logs_out(run, gateway, browser, tmp_path):
    ended = run("login", "--url", gateway)
    browser.close()

    assert (ended.code, ended.out[:39]) == (0, "logged in as ada@company.com (internal_")
    key = kept(tmp_path)["default"]["key"]
    assert not [address for address in browser.visited if key in address]
    assert key not in ended.out + ended.err + browser.page
    assert "close this page" in browser.page
    assert run("keys", "list").code == 0

    assert run("logout").out == "logged out\n"
    assert "default" not in kept(tmp_path)
    assert httpx.get(f"{gateway}/key/info", headers={"authorization": f"Bearer {key}"}, timeout=30).status_code == 401


@pytest.mark.parametrize("first", ["/?code=x&state=another", "/?state=", "/favicon.ico"])
def test_what_else_comes_to_the_port_changes_nothing(run, gateway, browser, tmp_path, first):
    browser.first = first

    assert run("login", "--url", gateway, "--profile", "work").code == 0
    assert kept(tmp_path)["work"]["url"] == gateway


def test_without_a_browser_the_address_is_printed(run, gateway, monkeypatch):
    monkeypatch.setattr(login, "WAIT_SECONDS", 0)

    ended = run("login", "--url", gateway, "--no-browser")

    assert ended.code == 1
    assert ended.out.startswith(f"Log in at:\n{gateway}/sso/key/generate?cli_port=")
    assert "nobody logged in" in ended.err


def test_where_nobody_can_log_in_nobody_waits(run, tmp_path):
    with running_management(tmp_path) as url:
        ended = run("login", "--url", url, "--no-browser")

    assert (ended.code, ended.out) == (1, "")
    assert "has no single sign-on" in ended.err


def test_an_identity_provider_that_is_away_is_told_before_anybody_waits(run, tmp_path):
    def parts(url: str) -> dict[str, Any]:
        nobody = sso.SingleSignOn(providers=(row("http://127.0.0.1:1"),), base_url=url)
        return {"identity_providers": IdentityProviders(nobody), "keyring": lambda: RING}

    with running_management(tmp_path, parts) as url:
        ended = run("login", "--url", url, "--no-browser")

    assert (ended.code, ended.out) == (1, "")
    assert "identity provider" in ended.err


def test_who_is_not_logged_in_cannot_log_out(run, gateway):
    assert run("logout").code == 2


def test_a_key_that_is_gone_already_is_forgotten_all_the_same(run, gateway, browser, tmp_path):
    run("login", "--url", gateway)
    key = kept(tmp_path)["default"]["key"]
    httpx.post(f"{gateway}/session/logout", headers={"authorization": f"Bearer {key}"}, timeout=30)

    assert run("logout").code == 0
    assert "default" not in kept(tmp_path)


def test_a_provider_that_is_not_there_is_told_before_anybody_waits(run, gateway, browser):
    refused = run("login", "--url", gateway, "--provider", "nobody")

    assert (refused.code, browser.visited) == (1, [])
    assert "--provider: company" in refused.err


def test_a_profile_that_is_kept_meanwhile_stays(run, gateway, browser, tmp_path, monkeypatch):
    def opening(address: str) -> bool:
        profiles.write({"other": {"url": "http://127.0.0.1:9", "key": "sk-x"}})
        return browser.open(address)

    monkeypatch.setattr(webbrowser, "open", opening)

    assert run("login", "--url", gateway).code == 0
    assert {*kept(tmp_path)} == {"other", "default"}


def test_a_key_that_is_of_no_login_is_not_forgotten(run, gateway, tmp_path):
    """It may be kept nowhere else."""
    made = httpx.post(f"{gateway}/key/generate", headers={"authorization": f"Bearer {MASTER}"}, timeout=30).json()
    profiles.write({"default": {"url": gateway, "key": made["key"]}})

    assert run("logout").code == 1
    assert kept(tmp_path)["default"]["key"] == made["key"]


def test_who_opens_the_port_and_says_nothing_keeps_nobody_waiting(run, gateway, browser, monkeypatch):
    """Browsers open connections ahead, and use another."""
    silent: list[socket.socket] = []

    def opening(address: str) -> bool:
        port = int(parse_qs(urlsplit(address).query)["cli_port"][0])
        silent.extend(socket.create_connection(("127.0.0.1", port)) for _ in range(3))
        return browser.open(address)

    monkeypatch.setattr(webbrowser, "open", opening)
    monkeypatch.setattr(login._Handler, "timeout", 60)
    monkeypatch.setattr(login, "WAIT_SECONDS", 30)
    try:
        assert run("login", "--url", gateway).code == 0
    finally:
        for each in silent:
            each.close()
