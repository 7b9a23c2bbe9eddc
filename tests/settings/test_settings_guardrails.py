"""`guardrails:` of a file: LiteLLM's blocks and ours, as policies."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from settings.test_load import refused

from extproc.guardrails import Selectors
from extproc.redaction import Action, OnFailure


def block(name: str = "pii", **parameters: Any) -> dict[str, Any]:
    return {"guardrail_name": name, "litellm_params": {"guardrail": "presidio", **parameters}}


def text(*blocks: dict[str, Any]) -> str:
    return yaml.safe_dump({"guardrails": [*blocks]}, sort_keys=False)


def only(load, **parameters):
    (found,) = load(text(block(**parameters)), strict=True).guardrails
    return found


def test_litellms_block_for_presidio_is_read_as_it_is(load):
    found = only(
        load, mode="pre_call", default_on=True, output_parse_pii=True,
        pii_entities_config={"CREDIT_CARD": "MASK", "EMAIL_ADDRESS": "BLOCK"},
        presidio_score_thresholds={"ALL": 0.5, "CREDIT_CARD": 0.8}, presidio_language="en",
    )  # fmt: skip

    assert (found.name, found.default_on, found.media) == ("pii", True, Action.BLOCK)
    assert found.policy.request == {"CREDIT_CARD": Action.MASK, "EMAIL_ADDRESS": Action.BLOCK}
    assert found.policy.response == {}
    assert found.policy.restore is True
    assert (found.policy.thresholds["CREDIT_CARD"], found.policy.thresholds["US_SSN"]) == (0.8, 0.5)


@pytest.mark.parametrize(
    ("more", "searched", "dry_run"),
    [
        ({"mode": "post_call"}, (False, True), False),
        ({"mode": ["pre_call", "post_call"]}, (True, True), False),
        ({"mode": "during_call"}, (True, False), False),
        ({"mode": "logging_only"}, (True, True), True),
        ({"presidio_filter_scope": "output"}, (False, True), False),
        ({"presidio_filter_scope": "both"}, (True, True), False),
        ({"dry_run": True}, (True, False), True),
    ],
)
def test_the_mode_says_which_texts_are_searched(load, more, searched, dry_run):
    policy = only(load, pii_entities_config={"US_SSN": "MASK"}, **more).policy

    assert (bool(policy.request), bool(policy.response), policy.dry_run) == (*searched, dry_run)


def test_without_entities_everything_is_masked_but_the_numbers_of_single_countries(load):
    policy = only(load).policy

    assert policy.request["EMAIL_ADDRESS"] is policy.request["OPENAI_API_KEY"] is Action.MASK
    assert "NZ_IRD" not in policy.request
    assert len(policy.request) > 30


def test_without_entities_a_recognizer_of_ones_own_masks_too(load):
    policy = only(load, custom=[{"entity": "EMPLOYEE", "pattern": "E-[0-9]{6}"}]).policy

    assert policy.request["EMPLOYEE"] is policy.request["EMAIL_ADDRESS"] is Action.MASK


def test_entities_for_one_direction_leave_the_other_as_it_would_be(load):
    policy = only(load, mode=["pre_call", "post_call"], request={"EMAIL_ADDRESS": "block"}).policy

    assert policy.request == {"EMAIL_ADDRESS": Action.BLOCK}
    assert policy.response == only(load, mode="post_call").policy.response != {}


def test_our_own_fields_say_the_rest(load):
    found = only(
        load, request={"EMAIL_ADDRESS": "hash", "EMPLOYEE": "mask", "TABOO": "block"}, response={"US_SSN": "log"},
        restore=False, media="allow", on_failure="allow", longest_text=5000, threshold=0.6,
        custom=[{"entity": "EMPLOYEE", "pattern": "E-[0-9]{6}", "context": ["employee"], "score": 0.3},
                {"entity": "TABOO", "words": ["project x"]}],
        context={"US_SSN": ["social"]}, models=["gpt-*"], teams=["t"], keys=["front"], paths=["/v1/*"],
    )  # fmt: skip
    policy = found.policy

    assert policy.request == {"EMAIL_ADDRESS": Action.HASH, "EMPLOYEE": Action.MASK, "TABOO": Action.BLOCK}
    assert policy.response == {"US_SSN": Action.LOG}
    assert (policy.restore, policy.on_failure, policy.longest_text) == (False, OnFailure.ALLOW, 5000)
    assert (policy.threshold, policy.context) == (0.6, {"US_SSN": ("social",)})
    assert [custom.entity for custom in policy.custom] == ["EMPLOYEE", "TABOO"]
    assert found.media is Action.ALLOW
    assert found.selectors == Selectors(("gpt-*",), ("t",), ("front",), ("/v1/*",))


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([block(pii_entities_config={"EMAIL": "MASK"})], "no recognizer finds 'EMAIL'; see docs/redaction.md"),
        ([block(pii_entities_config={"PERSON": "MASK"})], "no recognizer finds 'PERSON'; see docs/redaction.md"),
        ([block(), block()], "'pii' is there twice"),
        ([block(custom=[{"entity": "X", "pattern": "a*"}])], "X: "),
        (
            [block(custom=[{"entity": "ROOM_7", "pattern": "a"}])],
            "ROOM_7: 'ROOM_7' is not a name for an entity: ",
        ),
        ([block(custom=[{"entity": "X"}])], "X: give a pattern or words, one of the two"),
        ([block(mode="precall")], "guardrails[0].litellm_params.mode: Input should be 'pre_call', 'during_call', "),
        ([block(mode=["pre_call", "after"])], "guardrails[0].litellm_params.mode[1]: Input should be 'pre_call', "),
        ([block(media="burn")], "guardrails[0].litellm_params.media: "),
        ([block(pii_entities_config={"US_SSN": "SHRED"})], "guardrails[0].litellm_params.pii_entities_config.US_SSN"),
        ([{"guardrail_name": "x"}], "guardrails[0].litellm_params is missing"),
    ],
)
def test_a_mistake_is_told_with_its_place(load, blocks, said):
    (line,) = refused(load, text(*blocks))

    place, _, sentence = line.partition(": ")
    assert place.replace(":", "").isdigit()
    assert sentence.startswith(said)


def test_another_kind_of_guardrail_is_told_as_not_supported(load):
    other = {"guardrail_name": "x", "litellm_params": {"guardrail": "lakera", "mode": "pre_call"}}

    found = load(text(other))

    assert found.guardrails == ()
    assert "guardrail: lakera is not supported; supported are presidio, extproc; requests" in found.unsupported[0]


def test_a_guardrail_that_everybody_would_be_without_is_a_mistake(load):
    other = {"guardrail_name": "x", "litellm_params": {"guardrail": "lakera", "mode": "pre_call", "default_on": True}}

    (line,) = refused(load, text(other))

    assert "guardrail: lakera is not supported" in line
    assert line.endswith("without it nothing would be checked, so take it out to start")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"custom": [{"entity": "EMPLOYEE", "pattern": "E-[0-9]{6}"}], "pii_entities_config": {"US_SSN": "MASK"}},
         "nothing is done about 'EMPLOYEE': name it in pii_entities_config"),
        ({"custom": [{"entity": "TABOO", "words": ["project x"], "score": 0.5}]},
         "score has no effect on words, which are always found"),
        ({"presidio_score_thresholds": {"ALL": 0.5, "EMAIL": 0.6}},
         "presidio_score_thresholds: no recognizer finds 'EMAIL'"),
        ({"context": {"SSN": ["social"]}}, "context: no recognizer finds 'SSN'"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told_with_its_place(load, parameters, said):
    (line,) = load(text(block(**parameters))).unsupported

    assert line.endswith(f": {said}")
    assert line.partition("config.yaml:")[2].partition(": ")[0].replace(":", "").isdigit()


def test_names_and_places_need_an_analyzer_that_finds_them(load):
    found = only(
        load,
        pii_entities_config={"PERSON": "MASK", "US_SSN": "MASK"},
        presidio_analyzer_api_base="http://presidio:5002",
    )

    assert found.policy.request == {"US_SSN": Action.MASK}
    assert (found.analyzer, found.language) == ("http://presidio:5002", "en")
