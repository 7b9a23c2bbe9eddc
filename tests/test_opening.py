"""The stores that the settings name. That they work is shown by the stores' own tests and by the gateway's."""

from __future__ import annotations

import contextlib
import logging
import sys

import pytest
from empty_sqlite import opened_sqlite
from envoyconfig.renderings import layout_in
from pydantic import SecretStr

from extproc import opening
from extproc.errors import ConfigError
from extproc.model import SecretRef
from extproc.policy import sso
from extproc.settings import Settings


def literal(text):
    return SecretRef("literal", "", SecretStr(text))


@pytest.mark.parametrize("url", ["redis://cache:6379/2", "rediss://:word@cache", "unix:///run/redis.sock"])
def test_an_address_of_redis_is_taken_as_it_is(url):
    assert opening.redis_url(Settings(redis_url=literal(url))) == url


@pytest.mark.parametrize("url", ["http://:secret-word@cache", "cache:6379"])
def test_what_is_no_address_of_redis_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match=r"redis_url must begin with redis://, rediss://, unix://") as refused:
        opening.redis_url(Settings(redis_url=literal(url)))

    assert "secret-word" not in str(refused.value)


async def test_messages_are_not_stored_where_nothing_could_encrypt_them(tmp_path):
    store = await opened_sqlite(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        for settings, kept in ((Settings(), False), (Settings(store_prompts=True, encryption_key=literal("k")), True)):
            found = opening.contents(settings, stack, store, lambda: None, lambda _result, _count: None)
            assert (found is not None) is kept
        with pytest.raises(ConfigError, match=r"store_prompts_in_spend_logs needs general_settings\.encryption_key"):
            opening.contents(Settings(store_prompts=True), stack, store, lambda: None, lambda _result, _count: None)


def sso_settings(**changes):
    provider = sso.IdentityProvider(
        name="google", kind=sso.GOOGLE, issuer="https://accounts.google.com", client_id=literal("id"),
        client_secret=literal("secret"), allowed_domains=("company.com",),
    )  # fmt: skip
    told = sso.SingleSignOn(providers=(provider,), **changes)
    return Settings(sso=told, encryption_key=literal("an encryption key of tests"))


async def opened(settings, **layout):
    async with contextlib.AsyncExitStack() as stack:
        return opening.identity_providers(settings, layout_in("/data", **layout), stack)


async def test_without_providers_nobody_is_asked_who_somebody_is():
    assert await opened(Settings()) is None


async def test_the_configured_address_is_where_people_come_back_to():
    found = await opened(sso_settings(base_url="https://llm.company.com"))

    assert found.settings.base_url == "https://llm.company.com"


@pytest.mark.parametrize(
    ("ports", "base"),
    [({}, "http://localhost:4000"), ({"http_port": None, "https_port": 9443}, "https://localhost:9443")],
)
async def test_without_one_people_come_from_this_machine_only_and_that_is_told(caplog, ports, base):
    with caplog.at_level(logging.WARNING):
        found = await opened(sso_settings(), **ports)

    assert found.settings.base_url == base
    assert "logins_from_this_machine_only" in caplog.text


async def test_logins_need_a_key_that_seals_them():
    with pytest.raises(ConfigError, match=r"sso_providers needs general_settings\.encryption_key"):
        await opened(Settings(sso=sso_settings().sso))


async def test_a_missing_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("joserfc", "extproc.identity_providers.openid"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("extproc.identity_providers.")]:
        if name.rpartition(".")[2] in {"id_tokens", "discovery"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "joserfc", None)

    with pytest.raises(ConfigError, match=r"pip install 'llm-extproc\[sso\]'"):
        await opened(sso_settings())
