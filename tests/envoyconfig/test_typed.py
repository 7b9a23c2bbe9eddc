"""The shapes that repeat arrive in JSON as Envoy reads them."""

from __future__ import annotations

from betterproto2 import Casing
from envoy_data_plane.envoy.config.core import v3 as core

from extproc.envoyconfig import typed


def rendered(message):
    return message.to_dict(casing=Casing.SNAKE)


def test_a_typed_message_says_its_type():
    url = rendered(typed.typed(core.Node(id="a")))

    assert url == {"@type": "type.googleapis.com/envoy.config.core.v3.Node", "id": "a"}


def test_no_time_limit_is_said_and_not_left_out():
    options = core.HttpProtocolOptions(idle_timeout=typed.seconds(0), max_connection_duration=typed.milliseconds(1500))

    assert rendered(options) == {"idle_timeout": "0s", "max_connection_duration": "1.500s"}


def test_addresses():
    assert rendered(typed.pipe("/run/a.sock")) == {"pipe": {"path": "/run/a.sock"}}
    assert rendered(typed.socket("127.0.0.1", 80)) == {"socket_address": {"address": "127.0.0.1", "port_value": 80}}


def test_sources():
    assert rendered(typed.file("/a.pem")) == {"filename": "/a.pem"}
    assert rendered(typed.text("{}")) == {"inline_string": "{}"}


def test_header_options_say_what_happens_to_the_old_value():
    assert rendered(typed.overwrite("a", "b"))["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    assert rendered(typed.add_if_absent("a", "b"))["append_action"] == "ADD_IF_ABSENT"


def test_matchers():
    assert rendered(typed.exactly("a")) == {"exact": "a"}
    assert rendered(typed.pattern("a.*")) == {"regex": "a.*"}
