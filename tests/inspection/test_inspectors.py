"""Who is asked for which guardrail of the configuration."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from inspection.presidio_server import presidio

from extproc import settings
from extproc.errors import ConfigError
from extproc.guardrails import Configured, Consulted
from extproc.inspection import Inspectors
from extproc.inspection.model import ModelInspector
from extproc.inspection.presidio import PresidioInspector
from extproc.redaction import Action, Policy

ASKED = Consulted({"PERSON": Action.MASK})


def configured(analyzer: str = "", consulted: Consulted | None = ASKED) -> Configured:
    return Configured("names", Policy(), Action.BLOCK, analyzer=analyzer, consulted=consulted)


@pytest.fixture
async def inspectors():
    made = Inspectors()
    yield made
    await made.close()


def test_a_guardrail_that_asks_nobody_has_nobody(inspectors):
    assert inspectors.of(configured(consulted=None)) is None


def test_without_an_analyzer_the_model_is_asked(inspectors):
    assert isinstance(inspectors.of(configured()), ModelInspector)


async def test_the_analyzers_address_may_be_a_reference(inspectors, monkeypatch):
    async with presidio() as server:
        monkeypatch.setenv("ANALYZER", server.base)
        made = inspectors.of(configured("os.environ/ANALYZER"))

        assert isinstance(made, PresidioInspector)
        assert [len(found) for found in await made.inspect(["Bob"])] == [1]


@pytest.mark.parametrize(
    ("analyzer", "told"),
    [
        (
            "os.environ/NOBODY_SETS_THIS",
            "guardrail names: presidio_analyzer_api_base: os.environ/NOBODY_SETS_THIS is not",
        ),
        ("presidio:3000", "guardrail names: presidio_analyzer_api_base must begin with http:// or https://"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(inspectors, analyzer, told):
    with pytest.raises(ConfigError, match=told):
        inspectors.of(configured(analyzer))


def test_a_missing_extra_is_named(inspectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ConfigError, match=r"guardrail names: ner needs an extra: pip install 'llm-extproc\[ner\]'"):
        inspectors.of(configured())


def loaded(tmp_path: Any, parameters: str) -> Configured:
    file = tmp_path / "config.yaml"
    file.write_text(f"guardrails: [{{guardrail_name: names, litellm_params: {{guardrail: presidio, {parameters}}}}}]\n")
    [found] = settings.load(file, strict=True).guardrails
    return found


def test_the_file_says_what_others_are_asked_for_and_what_our_engine_does(tmp_path):
    found = loaded(
        tmp_path,
        "ner: true, mode: [pre_call, post_call], "
        "pii_entities_config: {PERSON: MASK, LOCATION: BLOCK, EMAIL_ADDRESS: MASK}, "
        "response: {PERSON: HASH}, streams: structured_only, inspection_deadline_ms: 700",
    )

    asked = {"PERSON": Action.MASK, "LOCATION": Action.BLOCK}
    assert found.consulted == Consulted(asked, {"PERSON": Action.HASH}, 700, streams_pass=True)
    assert (found.policy.request, found.policy.response) == ({"EMAIL_ADDRESS": Action.MASK}, {})
    assert found.policy.guards


def test_without_entities_everything_that_is_found_is_masked_names_too(tmp_path):
    found = loaded(tmp_path, "presidio_analyzer_api_base: 'http://presidio:3000'")

    assert found.consulted is not None
    assert set(found.consulted.request) == {"PERSON", "LOCATION", "NRP", "ORGANIZATION"}
    assert found.consulted.response == {}
    assert found.policy.request["EMAIL_ADDRESS"] is Action.MASK


@pytest.mark.parametrize(("parameters", "entity"), [("mode: pre_call", "PERSON"), ("ner: true", "NRP")])
def test_what_nobody_finds_is_told(tmp_path, parameters, entity):
    with pytest.raises(ConfigError, match=f"no recognizer finds '{entity}'"):
        loaded(tmp_path, f"{parameters}, pii_entities_config: {{{entity}: MASK}}")


def test_a_word_list_of_the_operators_own_needs_nobody(tmp_path):
    found = loaded(tmp_path, "request: {PERSON: MASK}, custom: [{entity: PERSON, words: [Zaphod]}]")

    assert found.consulted is None
    assert found.policy.request == {"PERSON": Action.MASK}
