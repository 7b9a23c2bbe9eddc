"""A buffered request body: understood once, edited, and always forwarded re-encoded.

What was decided on is what is forwarded: the document that the decisions read is the one that is written, so a
duplicate key or an escaped spelling of one cannot show the provider something else than it showed us.
"""

from __future__ import annotations

import msgspec

from extproc.framing import document
from extproc.pricing import tokens
from extproc.providers.api import Api, Document, RequestFacts

#: Up to this size the prompt is kept beside the exchange and only counted if the response turns out to need it.
KEPT_PROMPT_BYTES = 64 * 1024

#: The fields in which a request tells of itself, for us to write down.
METADATA = ("metadata", "litellm_metadata")
_ABSENT = msgspec.Raw(b"null")


class Prompt(msgspec.Struct):
    """The prompt's size in tokens, counted when asked for; a large prompt at once, so that it need not be kept."""

    texts: tuple[msgspec.Raw, ...]
    counted: int | None = None

    @classmethod
    def of(cls, facts: RequestFacts) -> Prompt:
        """`facts.texts` may be views into the whole body: what is kept is copied."""
        if sum([memoryview(text).nbytes for text in facts.texts]) > KEPT_PROMPT_BYTES:
            return cls((), tokens.count_prompt(bytes(text) for text in facts.texts))
        return cls(tuple([text.copy() for text in facts.texts]))

    def tokens(self) -> int:
        if self.counted is None:
            self.counted = tokens.count_prompt(bytes(text) for text in self.texts)
        return self.counted


class RequestBody(msgspec.Struct, frozen=True):
    """A request, read but not yet forwarded."""

    api: Api
    document: Document
    facts: RequestFacts
    prompt: Prompt

    def metadata(self) -> dict[str, object]:
        """What the request tells of itself, as it stands in the document now: `facts` have what the client sent."""
        told: dict[str, object] = {}
        for name in METADATA:
            told |= msgspec.json.decode(self.document.get(name, _ABSENT)) or {}
        return told

    def forward(self, provider_model: str, *, ask_usage: bool) -> bytes:
        """The bytes for the provider: its own model name, usage asked for if it understands that, nothing of ours."""
        self.api.write_request(self.document, self.facts, provider_model, ask_usage=ask_usage)
        return document.write(self.document)


def read(api: Api, body: bytes, path_model: str | None) -> RequestBody:
    """Read a body. A model named by the path counts, as in LiteLLM. Raises `MalformedBody`."""
    parsed = document.read(body)
    if path_model is not None:
        parsed["model"] = msgspec.Raw(msgspec.json.encode(path_model))
    facts = api.read_request(parsed)
    # Facts live as long as the exchange, and a view into the body would keep all of it that long.
    return RequestBody(api, parsed, msgspec.structs.replace(facts, texts=()), Prompt.of(facts))
