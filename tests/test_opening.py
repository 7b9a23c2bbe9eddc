"""The stores that the settings name. That they work is shown by the stores' own tests and by the gateway's."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from extproc import opening
from extproc.errors import ConfigError
from extproc.model import SecretRef
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
