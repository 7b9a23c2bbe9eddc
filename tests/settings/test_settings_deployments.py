"""A row of `model_list` becomes a deployment: its provider, its host, its credential, its id."""

from __future__ import annotations

import pytest

from extproc.model import SecretRef


def rows(load, *parameters: str):
    text = "model_list:\n" + "".join(
        f"  - {{model_name: m{index}, litellm_params: {row}}}\n" for index, row in enumerate(parameters)
    )
    return load(text).deployments


def test_one_address_is_one_upstream(load):
    first, second, third = rows(load, "{model: gpt-4o}", "{model: gpt-4o-mini}", "{model: groq/llama-3}")

    assert first.upstream is second.upstream
    assert third.upstream.name == "api.groq.com"


def test_two_paths_at_one_host_are_two_upstreams_with_two_names(load):
    first, second = rows(
        load, "{model: openai/a, api_base: 'http://h:8000/v1'}", "{model: openai/b, api_base: 'http://h:8000/v2'}"
    )

    assert (first.upstream.base_path, second.upstream.base_path) == ("/v1", "/v2")
    assert first.upstream.name == "h-8000"
    assert second.upstream.name.startswith("h-8000-")


@pytest.mark.parametrize(
    ("base", "host", "port", "name"),
    [
        ("http://[::1]:11434/v1", "::1", 11434, "1-11434"),
        ("https://LLM.Example.com/v1/", "llm.example.com", 443, "llm.example.com"),
        ("http://10.0.0.7/v1", "10.0.0.7", 80, "10.0.0.7"),
    ],
)
def test_an_address_is_taken_apart(load, base, host, port, name):
    (deployment,) = rows(load, f"{{model: openai/a, api_base: '{base}'}}")

    upstream = deployment.upstream
    assert (upstream.host, upstream.port, upstream.name, upstream.base_path) == (host, port, name, "/v1")


def test_ids_are_stable_differ_and_do_not_depend_on_a_secrets_value(load):
    first, second = rows(load, "{model: gpt-4o, api_key: sk-one}", "{model: gpt-4o-mini, api_key: sk-one}")
    (again,) = rows(load, "{model: gpt-4o, api_key: sk-two}")

    assert first.id == again.id
    assert first.id != second.id


def test_equal_rows_and_equal_own_ids_are_told_apart(load):
    text = """\
model_list:
  - {model_name: a, litellm_params: {model: gpt-4o}, model_info: {id: own}}
  - {model_name: a, litellm_params: {model: gpt-4o}, model_info: {id: own}}
"""

    assert [each.id for each in load(text).deployments] == ["own", "own-2"]


def test_a_wildcard_needs_nothing_more(load):
    text = "model_list: [{model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: os.environ/K}}]"

    (deployment,) = load(text).deployments

    assert (deployment.model_name, deployment.provider_model) == ("openai/*", "*")


def test_a_provider_may_be_named_beside_the_model(load):
    (deployment,) = rows(load, "{model: meta/llama, custom_llm_provider: groq}")

    assert (deployment.provider, deployment.provider_model) == ("groq", "meta/llama")


def test_an_address_may_be_called_base_url(load):
    (deployment,) = rows(load, "{model: openai/x, base_url: 'http://h:1/v1'}")

    assert deployment.api_base == "http://h:1/v1"


@pytest.mark.parametrize(
    ("row", "variable"),
    [
        ("{model: gpt-4o}", "OPENAI_API_KEY"),
        ("{model: groq/x}", "GROQ_API_KEY"),
        ("{model: together_ai/x}", "TOGETHERAI_API_KEY"),
        ("{model: openai/x, api_base: 'http://h:1/v1'}", None),
        ("{model: ollama/x}", None),
    ],
)
def test_without_a_key_the_providers_usual_variable_counts_for_its_own_host_only(load, row, variable):
    (deployment,) = rows(load, row)

    assert deployment.credential == (None if variable is None else SecretRef("env", variable))
