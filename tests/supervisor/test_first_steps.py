"""What to try first. That the commands work is shown where the program runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extproc.model import Deployment, Upstream
from extproc.settings import Settings, demo
from extproc.supervisor import first_steps
from extproc.supervisor.first_steps import Access

PLAIN = Access(("http://127.0.0.1:4000",), None, "$(cat /data/master_key)")
WITH_TLS = Access(("http://127.0.0.1:4000", "https://127.0.0.1:8443"), Path("/my data/ca.pem"), "$KEY")


def settings(*names):
    upstream = Upstream("provider", "https", "provider.example", 443, "/v1")
    base = "https://provider.example/v1"
    return Settings(deployments=tuple(Deployment(name, name, "openai", name, upstream, base, None) for name in names))


def test_the_ready_line_names_every_url():
    assert first_steps.ready_line(WITH_TLS.urls) == "ready: http://127.0.0.1:4000 https://127.0.0.1:8443"


def test_tls_is_tried_where_it_is_there_and_its_authority_is_trusted():
    text = first_steps.text(settings("gpt"), WITH_TLS)

    assert "http://" not in text
    assert text.count("--cacert '/my data/ca.pem' https://127.0.0.1:8443/") == 3
    assert "SSL_CERT_FILE='/my data/ca.pem' OPENAI_BASE_URL=https://127.0.0.1:8443/v1" in text


def test_python_is_the_one_that_runs_this():
    text = first_steps.text(settings("gpt"), PLAIN)

    assert f"(once: {sys.executable} -m pip install openai)" in text
    assert f"{sys.executable} -c '" in text


def test_plaintext_needs_no_trust():
    text = first_steps.text(settings("gpt"), PLAIN)

    assert "--cacert" not in text
    assert "SSL_CERT_FILE" not in text


def test_certificates_of_the_operator_need_no_trust_of_ours():
    assert "--cacert" not in first_steps.text(settings("gpt"), Access(WITH_TLS.urls, None, "$KEY"))


def test_the_simulated_provider_is_named_where_it_answers():
    simulated = demo.with_simulated_provider(Settings(), "/provider.sock")

    assert "made up by a simulated provider, no model is asked" in first_steps.text(simulated, PLAIN)
    assert "simulated" not in first_steps.text(settings("gpt"), PLAIN)


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (("text-embedding-3-small", "tts-1", "openai/*", "my-chat"), "my-chat"),
        (("gpt-3.5-turbo-instruct", "claude"), "claude"),
        (("it's a $(model)", 'say "hi"', "anthropic/claude-4.5:latest@eu"), "anthropic/claude-4.5:latest@eu"),
    ],
)
def test_a_model_that_can_chat_is_tried(names, model):
    assert f'"model": "{model}"' in first_steps.text(settings(*names), PLAIN)


def test_no_chat_is_tried_where_no_name_promises_one():
    text = first_steps.text(settings("text-embedding-3-small", "openai/*"), PLAIN)

    assert "chat/completions" not in text
    assert """-d '{"max_budget": 5}'""" in text


def test_a_key_that_the_shell_cannot_read_is_explained():
    assert "# MASTER_KEY stands for" in first_steps.text(settings("gpt"), Access(PLAIN.urls, None, "$MASTER_KEY"))
    assert "# MASTER_KEY" not in first_steps.text(settings("gpt"), PLAIN)


@pytest.mark.parametrize("access", [PLAIN, WITH_TLS])
def test_the_commands_are_shell(access):
    text = first_steps.text(settings("it's a $(model)", "gpt"), access)
    commands = text.partition(":\n")[2]

    checked = subprocess.run(["bash", "-n"], input=commands, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
