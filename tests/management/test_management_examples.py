"""Every example of the documentation is taken as it stands, once what it names is there."""

from __future__ import annotations

from typing import Any

import httpx

from extproc import guardrails
from extproc.encryption import Keyring
from extproc.guardrails import Configured
from extproc.redaction import Action, Policy
from extproc.stored_models import StoredModels

KEY = "sk-of-the-examples-0123456789"
PII = guardrails.compiled([Configured("pii", Policy(request={"EMAIL_ADDRESS": Action.MASK}), Action.BLOCK)])
#: What the examples name. Made before each of them; what is there already is refused, and that is well.
NAMED: list[tuple[str, dict[str, Any]]] = [
    ("/user/new", {"user_id": "u-1", "auto_create_key": False}),
    ("/customer/new", {"user_id": "customer-1"}),
    ("/team/new", {"team_id": "team-123"}),
    ("/team/new", {"team_id": "team-engineering"}),
    ("/team/member_add", {"team_id": "team-123", "member": {"user_id": "u-1", "role": "user"}}),
    ("/key/generate", {"key": KEY}),
    ("/model/new", {"model_name": "x", "litellm_params": {"model": "openai/x"}, "model_info": {"id": "model-123"}}),
]
#: What an example makes itself, and another one names.
MADE = {
    "/user/new": ("/user/delete", {"user_ids": ["u-1"]}),
    "/customer/new": ("/customer/delete", {"user_ids": ["customer-1"]}),
    "/key/service-account/generate": ("/key/delete", {"key_aliases": ["frontend-app"]}),
}


#: The code that these take is made by a login, and is good once.
AFTER_A_LOGIN = {"/sso/cli/key"}


async def test_every_example_is_accepted(gateway):
    ring = Keyring(["an-encryption-key"])
    models = StoredModels(gateway.parts.settings, gateway.store.models, lambda: ring)
    gateway.with_parts(
        keyring=models.keyring, deployments=lambda: models.deployments, reload_models=models.reload,
        guardrails=lambda: PII,
    )  # fmt: skip
    async with gateway.caller() as admin:
        found = examples((await admin.get("/openapi.json")).json())
        refused = [(path, example, text) for method, path, example in found
                   if path not in AFTER_A_LOGIN and (text := await refusal(admin, method, path, example))]  # fmt: skip

    assert refused == []
    assert len({(method, path) for method, path, _ in found}) >= 40


def examples(described: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Method, path and body of each."""
    return [
        (method, path, example)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
        for example in of_body(described, operation)
    ]


def of_body(described: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = (schema.get("$ref") or schema["anyOf"][0]["$ref"]).rpartition("/")[2]
    found: list[Any] = described["components"]["schemas"][name]["examples"]
    return found


async def refusal(admin: httpx.AsyncClient, method: str, path: str, example: Any) -> str:
    """What is wrong with the example, empty where nothing is."""
    for place, body in NAMED:
        await admin.post(place, json=body)
    if path in MADE:
        place, body = MADE[path]
        await admin.post(place, json=body)
    address = path.format(key=KEY, team_id="team-123", model_id="model-123")
    response = await admin.request(method, address, json=with_key(example))
    return "" if response.status_code == 200 and "failed_reason" not in response.text else response.text


def with_key(example: Any) -> Any:
    """The example with a key in the place of `sk-…`."""
    if isinstance(example, dict):
        return {name: with_key(value) for name, value in example.items()}
    if isinstance(example, list):
        return [with_key(value) for value in example]
    return KEY if example == "sk-…" else example
