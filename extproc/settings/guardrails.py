"""`guardrails:` of the file, LiteLLM's blocks, as redaction policies.

`guardrail: presidio` is LiteLLM's name for what is done here by our own engine, with the same entities and actions;
`guardrail: extproc` is the same under our own name. LiteLLM's `mode` says which texts are searched: `pre_call` (and
`during_call`) those of requests, `post_call` those of answers, `logging_only` only counts. Beside LiteLLM's fields
there are ours: `request` and `response` give an action for each entity, and so on (docs/redaction.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.guardrails import Configured, Consulted, Selectors
from extproc.redaction import (
    ENTITIES,
    Action,
    Direction,
    InvalidPattern,
    OnFailure,
    Policy,
    Recognizer,
    check_name,
    deny_list,
    recognizer,
)
from extproc.redaction.national_ids import NATIONAL_IDS
from extproc.settings.document import Document, Place
from extproc.settings.schema_guardrails import Custom, GuardrailBlock, GuardrailParameters

_KINDS = ("presidio", "extproc")
#: LiteLLM's word for "whatever has a threshold of its own".
_ALL = "ALL"
#: What is looked for where nothing is named. A national number is to anybody else just a number of nine digits.
_EVERYWHERE = tuple(entity for entity in ENTITIES if entity not in {row.recognizer.entity for row in NATIONAL_IDS})
#: Each needs a model for names and places.
_NEED_MODELS = ("PERSON", "LOCATION", "NRP", "ORGANIZATION")
#: What the model in this process finds of them.
_NER_FINDS = _NEED_MODELS[:2]


def of(blocks: list[GuardrailBlock]) -> tuple[Configured, ...]:
    """The guardrails of a file without mistakes."""
    return tuple(_configured(block) for block in blocks if block.litellm_params.guardrail in _KINDS)


def mistakes(blocks: list[GuardrailBlock], found: Document) -> Iterator[str]:
    """A line for each entity that nobody finds, each pattern that cannot be used, each name given twice, and each
    guardrail that everybody would be without: who names one that is not here is refused, everybody else would pass."""
    names: set[str] = set()
    for index, block in enumerate(blocks):
        inside: Place = ("guardrails", index, "litellm_params")
        if block.guardrail_name in names:
            yield f"{found.at_value(('guardrails', index, 'guardrail_name'))}: {block.guardrail_name!r} is there twice"
        names.add(block.guardrail_name)
        if block.litellm_params.default_on and block.litellm_params.guardrail not in _KINDS:
            yield f"{_unknown_kind(block, inside, found)}; without it nothing would be checked, so take it out to start"
        yield from _entity_mistakes(block.litellm_params, inside, found)
        for place, custom in enumerate(block.litellm_params.custom):
            try:
                check_name(custom.entity)
                _recognizer(custom)
            except (InvalidPattern, ValueError) as error:
                yield f"{found.at_value((*inside, 'custom', place))}: {custom.entity}: {error}"


def unsupported(blocks: list[GuardrailBlock], found: Document) -> Iterator[str]:
    """A line for each guardrail of a kind that is not here, and for each word of the others that has no effect."""
    for index, block in enumerate(blocks):
        inside: Place = ("guardrails", index, "litellm_params")
        if block.litellm_params.guardrail in _KINDS:
            yield from _idle_customs(block.litellm_params, inside, found)
            yield from _idle_names(block.litellm_params, inside, found)
        else:
            yield f"{_unknown_kind(block, inside, found)}; requests that name it are refused"


def _unknown_kind(block: GuardrailBlock, inside: Place, found: Document) -> str:
    where, kind = found.at_value((*inside, "guardrail")), block.litellm_params.guardrail
    return f"{where}: guardrail: {kind} is not supported; supported are {', '.join(_KINDS)}"


def _idle_customs(told: GuardrailParameters, inside: Place, found: Document) -> Iterator[str]:
    done = {entity for each in _told_actions(told) for entity in each}
    for index, custom in enumerate(told.custom):
        place = (*inside, "custom", index)
        if custom.entity not in done:
            where = found.at_value((*place, "entity"))
            yield f"{where}: nothing is done about {custom.entity!r}: name it in pii_entities_config"
        if custom.words is not None:
            for field in sorted({"context", "score"} & custom.model_fields_set):
                yield f"{found.at_key((*place, field))}: {field} has no effect on words, which are always found"


def _idle_names(told: GuardrailParameters, inside: Place, found: Document) -> Iterator[str]:
    known = {*ENTITIES, *_found_by_others(told), *(custom.entity for custom in told.custom)}
    for field, others in (("presidio_score_thresholds", {_ALL}), ("context", set())):
        for entity in getattr(told, field) or ():
            if entity not in known | others:
                yield f"{found.at_key((*inside, field, entity))}: {field}: no recognizer finds {entity!r}"


def _entity_mistakes(told: GuardrailParameters, inside: Place, found: Document) -> Iterator[str]:
    own = {custom.entity for custom in told.custom}
    for field in ("pii_entities_config", "request", "response"):
        for entity in getattr(told, field) or ():
            if entity not in ENTITIES and entity not in own and not _by_model(entity, told):
                yield f"{found.at_key((*inside, field, entity))}: no recognizer finds {entity!r}; see docs/redaction.md"


def _by_model(entity: str, told: GuardrailParameters) -> bool:
    """Whether an analyzer of the operator's may find it, or the model in this process."""
    return entity in _found_by_others(told)


def _found_by_others(told: GuardrailParameters) -> tuple[str, ...]:
    return _NEED_MODELS if told.presidio_analyzer_api_base is not None else _NER_FINDS if told.ner else ()


def _configured(block: GuardrailBlock) -> Configured:
    told = block.litellm_params
    request, response = _actions(told)
    consulted = _consulted(told)
    own: dict[str, Any] = {} if told.threshold is None else {"threshold": float(told.threshold)}
    if told.longest_text is not None:
        own["longest_text"] = told.longest_text
    policy = Policy(
        request=request,
        response=response,
        restore=told.output_parse_pii if told.restore is None else told.restore,
        dry_run=told.dry_run or "logging_only" in _modes(told),
        custom=tuple(_recognizer(custom) for custom in told.custom),
        context={entity: tuple(words) for entity, words in told.context.items()},
        thresholds=_thresholds(told),
        on_failure=OnFailure(told.on_failure),
        guards=consulted is not None and Action.MASK in consulted.request.values(),
        **own,
    )
    return Configured(
        name=block.guardrail_name,
        policy=policy,
        media=Action(told.media),
        default_on=told.default_on,
        selectors=Selectors(*(tuple(each) for each in (told.models, told.teams, told.keys, told.paths))),
        analyzer=told.presidio_analyzer_api_base or "",
        language=told.presidio_language or "en",
        consulted=consulted,
    )


def _consulted(told: GuardrailParameters) -> Consulted | None:
    """Who is configured and has nothing to find is not asked."""
    request, response = (
        {name: Action(each[name]) for name in _found_by_others(told) if name in each} for each in _told_actions(told)
    )
    if not request and not response:
        return None
    return Consulted(request, response, told.inspection_deadline_ms, told.streams == "structured_only")


def _actions(told: GuardrailParameters) -> tuple[Mapping[str, Action], Mapping[str, Action]]:
    """What our own engine does in requests and in answers."""
    others = _found_by_others(told)
    request, response = (
        {name: Action(action) for name, action in each.items() if name not in others} for each in _told_actions(told)
    )
    return request, response


def _told_actions(told: GuardrailParameters) -> list[dict[str, str]]:
    """The actions for requests and for answers. Where none are told, what is found everywhere is masked."""
    usual = told.pii_entities_config
    if usual is None:
        own_entities = [custom.entity for custom in told.custom]
        usual = dict.fromkeys([*_EVERYWHERE, *own_entities, *_found_by_others(told)], "MASK")
    searched = _directions(told)
    both = [
        own if own is not None else usual if direction in searched else {}
        for direction, own in ((Direction.REQUEST, told.request), (Direction.RESPONSE, told.response))
    ]
    return [{entity: action.lower() for entity, action in each.items()} for each in both]


def _directions(told: GuardrailParameters) -> set[Direction]:
    scope = told.presidio_filter_scope
    if scope is not None:
        return {"input": {Direction.REQUEST}, "output": {Direction.RESPONSE}, "both": {*Direction}}[scope]
    modes = _modes(told)
    found = {Direction.REQUEST} if modes & {"pre_call", "during_call", "logging_only"} else set()
    return found | ({Direction.RESPONSE} if modes & {"post_call", "logging_only"} else set())


def _modes(told: GuardrailParameters) -> set[str]:
    return {told.mode} if isinstance(told.mode, str) else {*told.mode}


def _thresholds(told: GuardrailParameters) -> dict[str, float]:
    given = told.presidio_score_thresholds or {}
    everywhere = {entity: float(given[_ALL]) for entity in ENTITIES} if _ALL in given else {}
    return everywhere | {entity: float(score) for entity, score in given.items() if entity != _ALL}


def _recognizer(custom: Custom) -> Recognizer:
    if (custom.pattern is None) == (custom.words is None):
        raise InvalidPattern("give a pattern or words, one of the two")
    if custom.words is not None:
        return deny_list(custom.entity, custom.words)
    assert custom.pattern is not None
    score = {"score": float(custom.score)} if custom.score is not None else {}
    return recognizer(custom.entity, custom.pattern, custom.context, **score)
