"""A path leads to one API, and may name the model."""

import pytest

from extproc.providers import anthropic_messages, openai_chat, openai_completions, openai_embeddings, registry


@pytest.mark.parametrize(
    ("path", "api", "model"),
    [
        ("/v1/chat/completions", openai_chat, None),
        ("/chat/completions", openai_chat, None),
        ("/v1/completions", openai_completions, None),
        ("/v1/embeddings", openai_embeddings, None),
        ("/openai/deployments/gpt-4o/chat/completions", openai_chat, "gpt-4o"),
        ("/openai/deployments/gpt-4o/completions", openai_completions, "gpt-4o"),
        ("/engines/gpt%2D4o%3Abeta/chat/completions", openai_chat, "gpt-4o:beta"),
        ("/v1/messages", anthropic_messages, None),
        ("/anthropic/v1/messages", anthropic_messages, None),
        ("/engines/chat/completions", openai_completions, "chat"),
    ],
)
def test_a_known_path_gives_its_api_and_model(path, api, model):
    assert registry.find(path) == (api, model)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/chat/completions/",
        "/v1/chat/completions?x=1",
        "/V1/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/a/b/chat/completions",
        "/openai/deployments/{model}/chat",
        "x/v1/chat/completions",
    ],
)
def test_any_other_path_gives_nothing(path):
    assert registry.find(path) is None


def test_names_and_paths_are_unique():
    assert len({api.NAME for api in registry.APIS}) == len(registry.APIS)
    paths = [path for api in registry.APIS for path in api.PATHS]
    assert len(set(paths)) == len(paths)
