"""What `extproc up` refuses: with one sentence on stderr, exit code 2, and before anything is started."""

from __future__ import annotations

import socket
import subprocess

import pytest
from running_envoy import free_port
from supervisor.powerless import powerless
from supervisor.running_up import command, environment

CONFIG = "general_settings: {master_key: os.environ/MY_MASTER_KEY}\n"


@pytest.fixture
def refused(tmp_path):
    """Runs `extproc up`; the sentence that it was refused with."""

    def run(*arguments, **variables):
        ports = ("--http-port", str(free_port()), "--https-port", str(free_port()))
        ended = subprocess.run(
            powerless(*command(*ports, *arguments)),
            cwd=tmp_path,
            env=environment(0) | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        *before, sentence = ended.stderr.splitlines()
        assert ended.returncode == 2
        assert sentence.startswith("error: ")
        assert [line for line in before if not line.startswith("extproc: ")] == []
        assert "ready" not in ended.stdout
        return sentence.removeprefix("error: ")

    return run


@pytest.mark.parametrize("name", ["http", "https"])
def test_a_taken_port(refused, name):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        assert refused(f"--{name}-port", str(port)) == (
            f"port {port} is taken by another program; choose another one with --{name}-port"
        )


def test_a_configuration_that_is_not_there(refused):
    assert refused("--config", "nowhere.yaml").startswith("nowhere.yaml: ")


@pytest.mark.parametrize(
    ("text", "place"), [("model_list: [\n", "config.yaml:2:1: "), ("model_list: 7\n", "config.yaml:1:13: ")]
)
def test_a_configuration_that_says_nothing_sensible(refused, tmp_path, text, place):
    (tmp_path / "config.yaml").write_text(text)

    assert refused("--config", "config.yaml").startswith(place)


def test_an_unknown_setting_where_it_shall_be_strict(refused, tmp_path):
    (tmp_path / "config.yaml").write_text("general_settings: {no_such_setting: 1}\n")

    assert "no_such_setting" in refused("--config", "config.yaml", "--strict")


def test_a_weak_master_key(refused, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)

    sentence = refused("--config", "config.yaml", MY_MASTER_KEY="sk-1234")

    assert sentence.startswith("the master key (general_settings.master_key: os.environ/MY_MASTER_KEY) is weak: ")
    assert "sk-1234" not in sentence


def test_a_master_key_that_is_not_there(refused, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)

    assert refused("--config", "config.yaml").startswith("the master key is not available: ")


def test_no_model_where_nothing_shall_be_simulated(refused):
    assert refused("--no-demo").startswith("no model is configured: name one in model_list of --config FILE")


def test_a_data_directory_that_is_a_file(refused, tmp_path):
    (tmp_path / "data").write_text("")

    assert refused("--data-dir", "data") == f"{tmp_path}/data is not a directory"


def test_a_data_directory_that_cannot_be_made(refused):
    assert refused("--data-dir", "/proc/extproc") == (
        "the directory /proc/extproc cannot be made: No such file or directory"
    )


def test_a_data_directory_that_cannot_be_written_to(refused, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)

    assert refused("--data-dir", "data") == f"the directory {tmp_path}/data is not writable"


def test_an_envoy_that_is_not_there(refused):
    assert refused("--envoy", "/nowhere/envoy") == "Envoy is missing: there is no file /nowhere/envoy"


def test_half_a_certificate(refused):
    assert refused("--tls-cert", "cert.pem") == "--tls-cert and --tls-key belong together; name both or neither"


def test_a_certificate_that_is_not_there(refused):
    sentence = refused("--tls-cert", "cert.pem", "--tls-key", "key.pem")

    assert sentence == "there is no file cert.pem"
