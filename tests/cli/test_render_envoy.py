"""`render envoy`: the bootstrap of an installation, to read or to run elsewhere."""

from __future__ import annotations

import json

import pytest
import yaml
from running_envoy import validate

CONFIG = """\
model_list:
  - model_name: mine
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MY_PROVIDER_KEY}
"""


@pytest.mark.parametrize(("arguments", "parse"), [((), yaml.safe_load), (("--format", "json"), json.loads)])
async def test_envoy_takes_what_is_printed(run, tmp_path, arguments, parse):
    """Without TLS, whose certificates `up` and `serve` make and this does not."""
    ended = run("render", "envoy", "--data-dir", str(tmp_path), "--https-port", "0", *arguments)

    assert ended.code == 0
    code, complaint = await validate(parse(ended.out))
    assert code == 0, complaint


def test_both_forms_say_the_same(run, tmp_path):
    arguments = ("render", "envoy", "--data-dir", str(tmp_path))

    assert yaml.safe_load(run(*arguments).out) == json.loads(run(*arguments, "--format", "json").out)


def test_nothing_is_made(run, tmp_path):
    run("render", "envoy", "--data-dir", str(tmp_path / "data"))

    assert list(tmp_path.iterdir()) == []


def test_it_is_the_bootstrap_of_these_arguments(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider-9fQ2vLx7RtB4")
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    (tmp_path / "config.yaml").write_text(CONFIG)
    places = ("--data-dir", str(tmp_path), "--http-port", "4001", "--https-port", "8444")
    text = run("render", "envoy", "--config", str(tmp_path / "config.yaml"), *places, "--format", "json").out

    assert '"port_value": 4001' in text
    assert '"port_value": 8444' in text
    assert f'"{tmp_path}/tls/cert.pem"' in text
    assert '"api.openai.com"' in text
    assert "sk-provider" not in text


def test_certificates_of_the_operator_take_the_place_of_ours(run, tmp_path):
    text = run("render", "envoy", "--tls-cert", f"{tmp_path}/own.pem", "--tls-key", f"{tmp_path}/own-key.pem").out

    assert f"{tmp_path}/own.pem" in text
    assert f"{tmp_path}/own-key.pem" in text
    assert "tls/cert.pem" not in text


def test_no_listener_at_all_is_refused(run, tmp_path):
    ended = run("render", "envoy", "--http-port", "0", "--https-port", "0")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: --http-port 0 and --https-port 0 leave nothing to listen on\n"


def test_several_workers_are_as_many_endpoints(run, tmp_path):
    ended = run("render", "envoy", "--data-dir", str(tmp_path), "--workers", "3", "--format", "json")

    for name in ("processor", "management"):
        assert [f"{name}-{worker}.sock" in ended.out for worker in range(4)] == [True, True, True, False]
