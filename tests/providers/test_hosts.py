"""LiteLLM's model strings, and what each provider wants to see."""

from urllib.parse import urlsplit

import pytest

from extproc.providers import hosts


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai/*", ("openai", "*")),
        ("groq/meta-llama/llama-4", ("groq", "meta-llama/llama-4")),
        ("openrouter/openai/gpt-4o:free", ("openrouter", "openai/gpt-4o:free")),
        ("gpt-4o", ("openai", "gpt-4o")),
        ("o1", ("openai", "o1")),
        ("o3-mini", ("openai", "o3-mini")),
        ("chatgpt-4o-latest", ("openai", "chatgpt-4o-latest")),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x")),
        ("text-embedding-3-small", ("openai", "text-embedding-3-small")),
        ("claude-opus-4-1", ("anthropic", "claude-opus-4-1")),
        ("anthropic/*", ("anthropic", "*")),
    ],
)
def test_a_model_string_names_its_provider(model, provider):
    assert hosts.provider_of(model) == provider


@pytest.mark.parametrize("model", ["", "/", "openai/", "nowhere/model", "claude", "o1x", "llama", "OpenAI/gpt-4o"])
def test_an_unknown_provider_is_not_guessed(model):
    assert hosts.provider_of(model) is None


@pytest.mark.parametrize(
    ("provider", "configured", "base"),
    [
        ("openai", None, "https://api.openai.com/v1"),
        ("openai", "http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000/v1"),
        ("hosted_vllm", None, None),
        ("azure", None, None),
        ("azure", "https://acme.openai.azure.com/", "https://acme.openai.azure.com/openai/v1"),
        ("azure", "https://acme.openai.azure.com/openai/v1", "https://acme.openai.azure.com/openai/v1"),
        ("anthropic", None, "https://api.anthropic.com/v1"),
        ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("ollama", "http://gpu:11434", "http://gpu:11434/v1"),
    ],
)
def test_the_base_url_is_the_operators_or_the_usual_one(provider, configured, base):
    assert hosts.api_base(provider, configured) == base


def test_the_credential_goes_where_the_provider_looks_for_it():
    assert hosts.credential_header("openai", "sk-x") == (b"authorization", b"Bearer sk-x")
    assert hosts.credential_header("azure", "k") == (b"api-key", b"k")
    assert hosts.credential_header("anthropic", "k") == (b"x-api-key", b"k")


def test_each_provider_speaks_its_own_apis_and_our_own_speaks_all():
    assert hosts.speaks("anthropic", "anthropic_messages")
    assert not hosts.speaks("anthropic", "openai_chat")
    assert not hosts.speaks("groq", "anthropic_messages")
    assert hosts.speaks("simulated", "openai_chat")


def test_anthropic_is_told_the_version_that_is_spoken():
    assert hosts.usual_headers("anthropic") == ((b"anthropic-version", b"2023-06-01"),)
    assert hosts.usual_headers("openai") == hosts.usual_headers("simulated") == ()


def test_a_credential_for_an_unknown_provider_is_an_error():
    with pytest.raises(KeyError):
        hosts.credential_header("nowhere", "k")


@pytest.mark.parametrize(
    "host", [host for host in hosts.HOSTS.values() if host.api_base], ids=lambda host: host.api_base
)
def test_usual_hosts_are_reached_over_tls_unless_they_are_local(host):
    address = urlsplit(host.api_base)

    assert address.scheme == ("http" if address.hostname == "127.0.0.1" else "https")
    assert host.api_base.endswith(host.base_path)
    assert not host.api_base.endswith("/")
