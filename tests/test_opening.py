"""The stores that the settings name. That they work is shown by the stores' own tests and by the gateway's."""

from __future__ import annotations

import contextlib

import pytest
from pydantic import SecretStr

from extproc import opening
from extproc.errors import ConfigError
from extproc.model import SecretRef
from extproc.settings import Settings
from extproc.stores.sql import SqlStore


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
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/extproc.db")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        for settings, kept in ((Settings(), False), (Settings(store_prompts=True, encryption_key=literal("k")), True)):
            found = opening.contents(settings, stack, store, lambda: None, lambda _result, _count: None)
            assert (found is not None) is kept
        with pytest.raises(ConfigError, match=r"store_prompts_in_spend_logs needs general_settings\.encryption_key"):
            opening.contents(Settings(store_prompts=True), stack, store, lambda: None, lambda _result, _count: None)
