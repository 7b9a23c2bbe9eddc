"""What clients of Anthropic's Messages API send: the facts that decide, and the edits before forwarding.

The fields that decide have the names and types of OpenAI's, so they are read by the same code, and what a client must
not decide is refused by the same list. Different is that `max_tokens` must be there, that usage comes unasked, and that
`metadata` is forwarded only as Anthropic defines it: a `user_id`.

Source: Anthropic's API reference, "Create a Message".
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from extproc.errors import MalformedBody
from extproc.providers import openai_request
from extproc.providers.api import Document, RequestFacts

#: What is prompt: definitions of tools are input tokens like messages.
_TEXTS = ("system", "messages", "tools")
_ABSENT = Raw(b"null")


def read(document: Document, path: str) -> RequestFacts:
    """The facts of a request; `path` names the API in messages. Raises `MalformedBody` naming the field at fault."""
    openai_request.require_list(document, path, "messages")
    openai_request.require(document, path, "max_tokens")
    facts = openai_request.read_facts(document, path, _TEXTS)
    if facts.choices != 1:
        raise MalformedBody(f"{path}: Invalid 'n': a message has one answer.", param="n")
    # Its clients always see the usage: nothing in their streams exists only because we asked.
    return msgspec.structs.replace(facts, wants_usage=True)


def write(document: Document, provider_model: str) -> None:
    """Edit the document in place: the provider's model name, and no field of the gateway's. `read` has checked it."""
    own = msgspec.json.decode(document.get("metadata", _ABSENT)) or {}
    removed = openai_request.REMOVED | {"metadata", "stream_options"}
    for name in [name for name in document if name in removed or name.startswith(openai_request.REMOVED_PREFIX)]:
        del document[name]
    document["model"] = Raw(msgspec.json.encode(provider_model))
    if isinstance(user_id := own.get("user_id"), str):
        document["metadata"] = Raw(msgspec.json.encode({"user_id": user_id}))
