"""AWS Secrets Manager: a secret as a whole, or one field of a secret that is a JSON object.

`aws/NAME/FIELD` is a field; `aws/NAME` and `aws/NAME/WITH/SLASHES/` are the whole. Credentials are found by boto3 as
ever (variables, profiles, roles of pods and machines) and renewed by it.
"""

from __future__ import annotations

import json
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from extproc.errors import SecretUnavailable
from extproc.secret_managers import ANSWER_SECONDS, CONNECT_SECONDS, AwsSettings, NoSuchSecret

#: What is deleted answers `InvalidRequestException` until its waiting time is over.
_MISSING = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
_ATTEMPTS = 3


class Aws:
    """A `Manager`."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._client: Any = None

    def fetch(self, location: str) -> str:
        name, _, field = location.rpartition("/") if "/" in location else (location, "", "")
        whole = self._whole(name)
        if not field:
            return whole
        try:
            fields = json.loads(whole)
        except ValueError:
            fields = None
        # Raised outside of the handler: the error in hand carries what was read.
        if not isinstance(fields, dict):
            raise SecretUnavailable("the secret is no JSON object, so it has no fields")
        if not isinstance(fields.get(field), str):
            raise NoSuchSecret("the secret has no such field, or it is no text")
        return str(fields[field])

    def _whole(self, name: str) -> str:
        try:
            answer = self._connected().get_secret_value(SecretId=name)
            text = answer.get("SecretString")
            return str(text) if text is not None else answer["SecretBinary"].decode()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
        except (BotoCoreError, ValueError) as error:
            code = type(error).__name__
        if code in _MISSING:
            raise NoSuchSecret("there is no such secret")
        raise SecretUnavailable(f"AWS Secrets Manager refuses, or is away ({code})")

    def _connected(self) -> Any:
        if self._client is None:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            )
            self._client = boto3.session.Session().client(
                "secretsmanager",
                region_name=self._settings.region,
                endpoint_url=self._settings.endpoint_url,
                config=config,
            )
        return self._client
