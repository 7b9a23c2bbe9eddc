"""What is sealed opens with its key at its place, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.encryption import Keyring, key_id
from extproc.errors import SecretUnavailable

OLD, NEW = "an-old-key-0123456789", "a-new-key-0123456789"
PLACE = "models/m-1/credential"
RING = Keyring([OLD])


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text(min_size=1))
def test_what_is_sealed_opens_at_its_place(value, place):
    assert RING.open(RING.seal(value, place), place) == value


def test_the_same_value_is_sealed_differently_each_time():
    assert len({RING.seal("sk-provider", PLACE) for _ in range(20)}) == 20


def test_an_envelope_says_which_key_sealed_it_and_shows_neither_key_nor_value():
    sealed = RING.seal("sk-provider", PLACE)

    version, kid, nonce, _ = sealed.split("|")
    assert (version, kid, len(nonce)) == ("v1", RING.current, 16)
    assert key_id(sealed) == kid
    assert "sk-provider" not in sealed
    assert OLD not in sealed + repr(RING)


def test_an_envelope_that_was_moved_is_refused():
    with pytest.raises(SecretUnavailable, match=r"^models/m-2/credential was changed after"):
        RING.open(RING.seal("sk-provider", PLACE), "models/m-2/credential")


@pytest.mark.parametrize("position", [-1, -20])
def test_an_envelope_that_was_changed_is_refused(position):
    sealed = RING.seal("sk-provider", PLACE)
    other = "A" if sealed[position] != "A" else "Q"
    changed = sealed[:position] + other + (sealed[position + 1 :] if position != -1 else "")

    with pytest.raises(SecretUnavailable, match="was changed after") as caught:
        RING.open(changed, PLACE)
    assert caught.value.__context__ is None


def test_a_wrong_key_is_told_by_its_id_and_without_a_secret():
    sealed = RING.seal("sk-provider", PLACE)

    with pytest.raises(SecretUnavailable) as caught:
        Keyring([NEW]).open(sealed, PLACE)
    assert str(caught.value) == f"{PLACE} was encrypted with a key ({RING.current}) that is not configured"


@pytest.mark.parametrize("envelope", ["", "sk-plain", "v1", "v1|x|y", "v2|a|b|c", "v1|a|b|c|d", "v1|a|*|c", "v1|a|ä|c"])
def test_what_is_no_envelope_is_refused(envelope):
    with pytest.raises(SecretUnavailable, match="nothing that was encrypted here"):
        RING.open(envelope, PLACE)


def test_a_ring_opens_with_every_key_and_seals_with_the_first():
    ring = Keyring([NEW, OLD])
    sealed = RING.seal("sk-provider", PLACE)

    assert ring.open(sealed, PLACE) == "sk-provider"
    assert not ring.is_current(sealed)
    again = ring.seal("sk-provider", PLACE)
    assert ring.is_current(again)
    assert Keyring([NEW]).open(again, PLACE) == "sk-provider"


@pytest.mark.parametrize("texts", [[], [""], ["fifteen-chars-x"], [OLD, "short"]])
def test_a_word_is_no_key(texts):
    with pytest.raises(ValueError, match="16 or more characters"):
        Keyring(texts)
