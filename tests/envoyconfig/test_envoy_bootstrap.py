"""The frame of the bootstrap."""

from __future__ import annotations

import json

import pytest
from envoyconfig.renderings import EXAMPLES, LOCAL, layout_in, settings_for

from extproc.envoyconfig import bootstrap, render, typed
from extproc.policy.destinations import Destinations, Pattern


@pytest.fixture(scope="module")
def rendered():
    return render(*EXAMPLES["embedded"])


def test_the_rendering_is_json_and_always_the_same(rendered):
    assert json.loads(json.dumps(rendered)) == rendered == render(*EXAMPLES["embedded"])


def test_the_admin_interface_is_a_socket_for_its_owner(rendered):
    assert rendered["admin"]["address"] == {"pipe": {"path": "/var/lib/llm-extproc/admin.sock", "mode": 0o600}}


def test_streams_of_the_processor_end_without_a_reset(rendered):
    layer = rendered["layered_runtime"]["layers"][0]["static_layer"]

    assert layer["envoy.reloadable_features.ext_proc_graceful_grpc_close"] is True


def test_the_number_of_connections_is_bounded(rendered):
    monitor = rendered["overload_manager"]["resource_monitors"][0]["typed_config"]

    assert int(monitor["max_active_downstream_connections"]) == bootstrap.MAX_CONNECTIONS


def test_without_authorities_no_host_behind_tls_can_be_added_at_run_time():
    settings = settings_for(LOCAL, stored_model_hosts=Destinations((Pattern("https"), Pattern("http", "a"))))
    text = json.dumps(render(settings, layout_in("/d", https_port=None, ca_bundle="")))

    assert "stored_http" in text
    assert "stored_https" not in text


def test_owners_only_means_no_group_and_no_others():
    assert typed.OWNER_ONLY & 0o077 == 0
