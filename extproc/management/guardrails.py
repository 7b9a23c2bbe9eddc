"""`/guardrails/…`: which guardrails there are, and what one does to a text.

Any valid key may ask; nothing is sent anywhere, but for what a guardrail asks others about.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from extproc import guardrails
from extproc.errors import Blocked, RedactionFailed
from extproc.guardrails import Guardrail
from extproc.management.authentication import AnyKeyRoute
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused, not_found
from extproc.management.fields import Text, Texts
from extproc.management.parts import Parts
from extproc.policy import refusals
from extproc.redaction import Direction

reading = APIRouter(route_class=AnyKeyRoute, tags=["guardrails"], responses=ERRORS)

#: LiteLLM's words for the directions.
_MODES = {Direction.REQUEST: "pre_call", Direction.RESPONSE: "post_call"}


class ApplyGuardrail(BaseModel):
    """`POST /guardrails/apply_guardrail`."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"guardrail_name": "pii", "text": "Write to ann@company.com"}]}
    )

    guardrail_name: Text
    text: Annotated[str, Field(max_length=1_000_000)]
    language: Annotated[Text | None, Field(description="Taken; a guardrail has the language of its own.")] = None
    entities: Annotated[Texts | None, Field(description="Only these are masked, of those that it masks.")] = None


class Applied(BaseModel):
    """The text as it would leave."""

    response_text: str


class Parameters(BaseModel):
    """What is told of a guardrail."""

    guardrail: str = "extproc"
    mode: list[str]
    default_on: bool


class ListedGuardrail(BaseModel):
    """One guardrail."""

    guardrail_name: str
    litellm_params: Parameters
    guardrail_info: dict[str, Any] = {}


class ListedGuardrails(BaseModel):
    """LiteLLM's list."""

    guardrails: list[ListedGuardrail]


@reading.post("/guardrails/apply_guardrail", response_model=Applied, summary="Try a guardrail on a text")
async def apply(parts: Parts, wanted: ApplyGuardrail) -> Any:
    """What a guardrail would do to this text in a request. One that blocks answers as it would on the data path."""
    configured = parts.guardrails()
    redaction = configured.find(wanted.guardrail_name) if configured else None
    if redaction is None:
        raise not_found("guardrail", wanted.guardrail_name)
    deadline_ms = parts.settings.redaction_deadline_ms
    try:
        redacted = await guardrails.apply(redaction, wanted.text, deadline_ms, wanted.entities or ())
    except Blocked as blocked:
        raise Refused(refusals.blocked_entity(blocked.entity, wanted.guardrail_name)) from None
    except RedactionFailed as failure:
        raise Refused(refusals.not_redacted(failure.reason)) from None
    return {"response_text": redacted}


@reading.get("/guardrails/list", response_model=ListedGuardrails, summary="List the guardrails")
async def list_guardrails(parts: Parts) -> Any:
    """Those of the configuration, in its order."""
    return {"guardrails": [_listed(each) for each in parts.guardrails() or ()]}


def _listed(guardrail: Guardrail) -> dict[str, Any]:
    policy = guardrail.policy
    modes = [word for direction, word in _MODES.items() if policy.searches(direction)]
    return {
        "guardrail_name": policy.name,
        "litellm_params": {"mode": ["logging_only"] if policy.dry_run else modes, "default_on": guardrail.default_on},
    }
