"""The page that says which of LiteLLM's endpoints are here says what is so."""

from __future__ import annotations

from benchmarks import api


def test_the_page_is_up_to_date():
    assert api.PAGE.read_text() == api.page(), "run: python -m benchmarks.api --write"


def test_an_endpoint_that_is_not_here_says_why():
    missing = [line for line in api.page().splitlines() if "| not here |" in line]

    assert missing
    assert all(len(line.split("|")[4].strip()) > 10 for line in missing)
