"""Envoy's own replies in LiteLLM's shape."""

from __future__ import annotations

import json

from betterproto2 import Casing

from extproc.envoyconfig import replies


def mappers():
    return replies.local_replies().to_dict(casing=Casing.SNAKE)["mappers"]


def test_what_is_ours_is_left_alone_before_anything_else_matches():
    first = mappers()[0]

    assert first["filter"]["extension_filter"]["typed_config"]["expression"] == replies.OURS
    assert set(first) == {"filter"}


def test_every_other_mapper_says_its_own_status():
    for mapper in mappers()[1:]:
        status = mapper["filter"]["status_code_filter"]["comparison"]["value"]["default_value"]
        body = mapper["body_format_override"]

        assert json.loads(body["text_format_source"]["inline_string"])["error"]["code"] == str(status)
        assert body["content_type"] == "application/json"


def test_no_sentence_can_be_taken_for_one_of_envoys_formats():
    assert not [refusal for refusal in replies.SAID if "%" in refusal.message]


def test_each_status_is_said_once():
    statuses = [refusal.status for refusal in replies.SAID]

    assert len(set(statuses)) == len(statuses)


def test_a_direct_reply_is_its_body():
    assert replies.direct(404, "{}").to_dict(casing=Casing.SNAKE) == {"status": 404, "body": {"inline_string": "{}"}}
