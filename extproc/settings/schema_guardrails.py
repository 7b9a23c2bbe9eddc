"""What a row of `guardrails` may say: LiteLLM's fields for Presidio, and ours beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from extproc.settings.checked import MANY, ONE, ONE_OR_MANY, Checked, Score, Text

_ACTION = Literal["MASK", "HASH", "BLOCK", "ALLOW", "LOG", "mask", "hash", "block", "allow", "log"]
_MODE = Literal["pre_call", "during_call", "post_call", "logging_only"]
_MODES = Annotated[Annotated[_MODE, Tag(ONE)] | Annotated[list[_MODE], Tag(MANY)], ONE_OR_MANY]

Actions = dict[Text, _ACTION]
Texts = list[Text]


class Custom(Checked):
    """A recognizer of the operator's own: a bounded RE2 `pattern`, or `words`."""

    entity: Text
    pattern: Text | None = None
    words: Texts | None = None
    context: Texts = []
    score: Score | None = None


class GuardrailParameters(Checked):
    """`litellm_params` of a guardrail: LiteLLM's fields first, then ours."""

    guardrail: Text
    mode: _MODES = "pre_call"
    default_on: bool = False
    pii_entities_config: Actions | None = None
    presidio_score_thresholds: dict[Text, Score] | None = None
    presidio_filter_scope: Literal["input", "output", "both"] | None = None
    presidio_language: Text | None = None
    presidio_analyzer_api_base: Text | None = None
    presidio_anonymizer_api_base: Text | None = None
    output_parse_pii: bool = False

    request: Actions | None = None
    response: Actions | None = None
    restore: bool | None = None
    dry_run: bool = False
    threshold: Score | None = None
    media: Literal["block", "allow", "log"] = "block"
    on_failure: Literal["refuse", "allow"] = "refuse"
    ner: bool = False
    inspection_deadline_ms: Annotated[int, Field(ge=50, le=60_000)] = 1_000
    streams: Literal["refuse", "structured_only"] = "refuse"
    longest_text: Annotated[int, Field(ge=1_000, le=16 * 1024 * 1024)] | None = None
    custom: list[Custom] = []
    context: dict[Text, Texts] = {}
    models: Texts = []
    teams: Texts = []
    keys: Texts = []
    paths: Texts = []


class GuardrailBlock(Checked):
    """A row of `guardrails`."""

    guardrail_name: Text
    litellm_params: GuardrailParameters
    guardrail_info: Any = None
