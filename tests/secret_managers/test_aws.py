"""A secret of AWS Secrets Manager as a whole, or a field of it: over HTTP, from moto's server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3.session
import pytest
from moto.server import ThreadedMotoServer

from extproc.errors import SecretUnavailable
from extproc.secret_managers import AwsSettings, NoSuchSecret
from extproc.secret_managers import aws as module
from extproc.secret_managers.aws import Aws


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    found: Any = boto3.session.Session().client("secretsmanager", region_name="eu-central-1", endpoint_url=endpoint)
    yield found
    for secret in found.list_secrets()["SecretList"]:
        found.delete_secret(SecretId=secret["Name"], ForceDeleteWithoutRecovery=True)


@pytest.fixture
def asked(endpoint: str) -> Aws:
    return Aws(AwsSettings(region="eu-central-1", endpoint_url=endpoint))


@pytest.mark.parametrize(("name", "content", "location", "value"), [
    ("openai", '{"api_key": "sk-one"}', "openai/api_key", "sk-one"),
    ("prod/openai", '{"api_key": "sk-two"}', "prod/openai/api_key", "sk-two"),
    ("plain", "sk-three", "plain", "sk-three"),
    ("prod/plain", "sk-four", "prod/plain/", "sk-four"),
])  # fmt: skip
def test_a_reference_leads_to_the_whole_or_to_a_field(client, asked, name, content, location, value):
    client.create_secret(Name=name, SecretString=content)

    assert asked.fetch(location) == value


def test_bytes_are_a_secret_too(client, asked):
    client.create_secret(Name="bytes", SecretBinary=b"sk-bytes")

    assert asked.fetch("bytes") == "sk-bytes"


def test_a_value_that_was_rotated_is_the_next_answer(client, asked):
    client.create_secret(Name="openai", SecretString='{"api_key": "sk-old"}')
    assert asked.fetch("openai/api_key") == "sk-old"

    client.put_secret_value(SecretId="openai", SecretString='{"api_key": "sk-new"}')

    assert asked.fetch("openai/api_key") == "sk-new"


@pytest.mark.parametrize("location", ["nothing", "nothing/api_key", "openai/nothing", "deleted/api_key"])
def test_what_is_not_there_is_told_apart_from_an_outage(client, asked, location):
    for name in ("openai", "deleted"):
        client.create_secret(Name=name, SecretString='{"api_key": "sk-one"}')
    client.delete_secret(SecretId="deleted", ForceDeleteWithoutRecovery=True)

    with pytest.raises(NoSuchSecret):
        asked.fetch(location)


def test_a_field_of_what_has_none_is_refused_without_a_word_of_it(client, asked):
    client.create_secret(Name="plain", SecretString="sk-three")

    with pytest.raises(SecretUnavailable, match="no JSON object") as failed:
        asked.fetch("plain/api_key")

    assert "sk-three" not in repr(failed.value.__context__)


def test_without_a_server_it_is_an_outage(monkeypatch):
    monkeypatch.setattr(module, "_ATTEMPTS", 1)

    with pytest.raises(SecretUnavailable, match="EndpointConnectionError"):
        Aws(AwsSettings(region="eu-central-1", endpoint_url="http://127.0.0.1:1")).fetch("openai/api_key")
