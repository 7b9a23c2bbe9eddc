"""Models are stored, shown and served at run time, and no secret of theirs is seen again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from management.asking import error, get, post

from extproc.encryption import Keyring
from extproc.management import model_admin
from extproc.policy.destinations import Destinations, Pattern
from extproc.stored_models import StoredModels

SECRET = "sk-provider-0123456789"
PARAMETERS = {"model": "openai/gpt-4o-mini", "api_key": SECRET}


def leading_to(api_base: str) -> dict[str, object]:
    return {"litellm_params": {"model": "openai/x", "api_base": api_base}}


@pytest.fixture
async def served(gateway) -> StoredModels:
    """The models that a worker serves; the management API is told to keep them up to date."""
    ring = Keyring(["an-encryption-key"])
    models = StoredModels(gateway.parts.settings, gateway.store.models, lambda: ring)
    gateway.with_parts(
        keyring=models.keyring,
        deployments=lambda: models.deployments,
        reload_models=models.reload,
        check_host=models.hosts.check,
    )
    return models


@pytest.fixture
async def admin(gateway, served) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.caller() as client:
        yield client


def named(models: StoredModels, name: str):
    return next((each for each in models.deployments if each.model_name == name), None)


async def test_a_new_model_is_served_at_once_with_its_credential(admin, served):
    row = await post(
        admin, "/model/new", model_name="fast", litellm_params=PARAMETERS | {"input_cost_per_token": 0.000001},
        model_info={"mode": "chat"},
    )  # fmt: skip

    model_admin.ModelRow.model_validate(row)
    assert row["litellm_params"] == {"model": "openai/gpt-4o-mini", "input_cost_per_token": 0.000001}
    assert row["model_info"] == {"id": row["model_id"], "db_model": True, "mode": "chat"}
    deployment = named(served, "fast")
    assert (deployment.id, deployment.provider_model, deployment.upstream.name) == (
        row["model_id"], "gpt-4o-mini", "openai",
    )  # fmt: skip
    assert deployment.credential._literal.get_secret_value() == SECRET
    assert "fast" in [model["id"] for model in (await get(admin, "/v1/models"))["data"]]


async def test_the_credential_is_stored_sealed_and_never_shown(gateway, admin, served):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)

    stored = await gateway.store.models.find(row["model_id"])
    assert stored.credential.startswith("v1|")
    shown = [row, msgspec.structs.asdict(stored), repr(served.deployments)]
    shown += [await get(admin, path) for path in ("/model/info", "/v1/model/info", "/v2/model/info", "/health")]
    assert SECRET not in str(shown)


async def test_a_reference_is_kept_as_it_is_and_other_secrets_are_dropped(gateway, admin, served):
    parameters = {"model": "openai/gpt-4o-mini", "api_key": "os.environ/MY_KEY", "aws_secret_access_key": SECRET}
    row = await post(admin, "/model/new", model_name="fast", litellm_params=parameters)

    stored = await gateway.store.models.find(row["model_id"])
    assert stored.parameters == {"model": "openai/gpt-4o-mini", "api_key": "os.environ/MY_KEY"}
    assert str(named(served, "fast").credential) == "os.environ/MY_KEY"


@pytest.mark.parametrize("patched", [True, False])
async def test_what_is_named_changes_and_the_rest_stays(admin, served, patched):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS, model_info={"mode": "chat"})
    body = {"model_name": "faster", "litellm_params": {"rpm": 7}, "model_info": {"id": row["model_id"], "x": 1}}
    if patched:
        changed = (await admin.patch(f"/model/{row['model_id']}/update", json=body)).json()
    else:
        changed = await post(admin, "/model/update", **body)

    assert changed["litellm_params"] == {"model": "openai/gpt-4o-mini", "rpm": 7}
    assert changed["model_info"] == {"id": row["model_id"], "db_model": True, "mode": "chat", "x": 1}
    assert named(served, "fast") is None
    assert named(served, "faster").credential._literal.get_secret_value() == SECRET
    assert served.rates["faster"].rpm_limit == 7


async def test_a_new_credential_takes_the_old_ones_place(admin, served):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)
    for told, expected in (("sk-another-0123456789", "literal/***"), ("os.environ/K", "os.environ/K")):
        await post(admin, "/model/update", litellm_params={"api_key": told}, model_info={"id": row["model_id"]})

        assert str(named(served, "fast").credential) == expected
    await post(admin, "/model/update", litellm_params={"api_key": None}, model_info={"id": row["model_id"]})
    assert str(named(served, "fast").credential) == "os.environ/OPENAI_API_KEY"


async def test_a_deleted_model_is_served_no_more(admin, served):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)

    assert row["model_id"] in (await post(admin, "/model/delete", id=row["model_id"]))["message"]
    assert named(served, "fast") is None
    error(await admin.post("/model/delete", json={"id": row["model_id"]}), 404)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (leading_to("http://8.8.8.8/v1"), "not among the hosts that stored models may lead to"),
        (leading_to("https://169.254.169.254/v1"), "is no public address"),
        (leading_to("https://[::ffff:10.0.0.1]/v1"), "is no public address"),
        (leading_to("https://[fd00::1]:8443/v1"), "is no public address"),
        (leading_to("https://localhost/v1"), "resolves to no address that stored models may lead to"),
        (leading_to("https://127.1/v1"), "resolves to no address that stored models may lead to"),
        (leading_to("https://0x7f000001/v1"), "resolves to no address that stored models may lead to"),
        (leading_to("https://user:password@8.8.8.8/v1"), "must hold no user and no password"),
        (leading_to("unix:///run/docker.sock"), "must begin with https:// or http://"),
        (leading_to("file:///etc/passwd"), "must begin with https:// or http://"),
        (leading_to("https://8.8.8.8:0/v1"), "must be a scheme, a host and a path"),
        (leading_to("https://8.8.8.8:99999/v1"), "is no URL"),
        (leading_to("https://8.8.8.8#@localhost/v1"), "must be a scheme, a host and a path"),
        (leading_to("https://8.8.8.8\\@localhost/v1"), "must hold no user"),
        ({"litellm_params": {"model": "ollama/x"}}, "not among the hosts that stored models may lead to"),
        ({"litellm_params": {"model": "nobody/x"}}, "is not known"),
        ({"litellm_params": {}}, "litellm_params.model"),
        ({"litellm_params": {"model": "openai/x", "api_key": "file//etc/passwd"}}, "cannot name a file"),
        ({"litellm_params": {"model": "openai/x", "api_base": "file//etc/passwd"}}, "cannot name a secret"),
        ({"litellm_params": {"model": "openai/x", "api_base": "os.environ/A_SECRET"}}, "cannot name a secret"),
        ({"litellm_params": {"model": "openai/x", "api_key": "$MY_KEY"}}, "looks like a reference"),
        ({"litellm_params": {"model": "openai/x", "api_key": 7}}, "api_key"),
        ({"litellm_params": {"model": "openai/x", "rpm": -1}}, "rpm"),
        ({"litellm_params": {"model": "openai/x", "input_cost_per_token": 7}}, "input_cost_per_token"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"id": "id-small"}}, "already exists"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"id": ["x"]}}, "model_info.id"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"x": "y" * 70_000}}, "larger"),
        ({"model_name": "a*b*", "litellm_params": {"model": "openai/x"}}, "one *"),
    ],
)
async def test_what_cannot_be_served_is_refused_and_not_stored(gateway, admin, body, words):
    response = await admin.post("/model/new", json={"model_name": "fast", **body})

    assert words in error(response, 400)["message"]
    assert (await gateway.store.models.list({})).total == 0


async def test_any_public_host_is_taken_and_one_that_speaks_another_api_where_a_configured_model_leads(admin, served):
    parameters = {"model": "openai/x", "api_base": "https://8.8.8.8:8443/v1"}
    await post(admin, "/model/new", model_name="elsewhere", litellm_params=parameters)
    parameters = {"model": "anthropic/x", "api_base": "https://api.openai.com/v1"}
    await post(admin, "/model/new", model_name="other", litellm_params=parameters)

    upstream = named(served, "elsewhere").upstream
    assert dict(served.hosts.way(upstream))[b"x-extproc-address"] == b"8.8.8.8:8443"
    assert named(served, "other").upstream.stored


@pytest.mark.parametrize(
    "change", [{"api_base": "https://8.8.8.8/v1"}, {"model": "groq/x"}, {"api_base": "https://api.openai.com:8443/v1"}]
)
async def test_a_stored_key_is_not_sent_to_another_host_and_a_new_one_is(gateway, admin, served, change):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)
    body = {"litellm_params": change, "model_info": {"id": row["model_id"]}}
    before = await gateway.store.models.find(row["model_id"])

    error(await admin.post("/model/update", json=body), 400, param="litellm_params.api_key")
    assert await gateway.store.models.find(row["model_id"]) == before
    await post(admin, "/model/update", **body | {"litellm_params": {**change, "api_key": "sk-of-the-new-host"}})
    assert named(served, "fast").credential._literal.get_secret_value() == "sk-of-the-new-host"


async def test_a_key_of_a_model_that_can_lead_nowhere_any_more_is_not_sent_elsewhere(gateway, admin):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)
    await gateway.store.models.update(row["model_id"], {"parameters": {"model": "openai/x", "api_base": "http://a/v1"}})
    body = {"litellm_params": {"api_base": "https://8.8.8.8/v1"}, "model_info": {"id": row["model_id"]}}

    error(await admin.post("/model/update", json=body), 400, param="litellm_params.api_key")


@pytest.mark.parametrize("parameters", [{"model": "openai/x"}, {"model": "groq/x"}])
async def test_a_secret_of_the_environment_is_sent_only_where_the_configuration_or_the_provider_leads(
    gateway, admin, served, parameters
):
    reference = {"api_key": "os.environ/EXTPROC_MASTER_KEY"}
    elsewhere = {**parameters, **reference, "api_base": "https://8.8.8.8/v1"}
    response = await admin.post("/model/new", json={"model_name": "theft", "litellm_params": elsewhere})
    assert "which no configuration names" in error(response, 400)["message"]

    await post(admin, "/model/new", model_name="own", litellm_params={**parameters, **reference})
    hosts = Destinations((Pattern(host="8.8.8.8"),))
    gateway.with_parts(settings=msgspec.structs.replace(gateway.parts.settings, stored_model_hosts=hosts))
    async with gateway.caller() as later:
        await post(later, "/model/new", model_name="named", litellm_params=elsewhere)


async def test_a_model_is_not_changed_to_lead_where_none_may(admin, served):
    row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)
    body = {"litellm_params": {"api_base": "https://localhost/v1"}, "model_info": {"id": row["model_id"]}}

    error(await admin.post("/model/update", json=body), 400, param="litellm_params")
    assert named(served, "fast").api_base == "https://api.openai.com/v1"


@pytest.mark.parametrize("body", [{}, {"model_name": "x"}, {"model_name": "x", "litellm_params": []}])
async def test_what_does_not_fit_the_schema_is_a_422(admin, body):
    assert (await admin.post("/model/new", json=body)).status_code == 422


async def test_an_unknown_or_configured_model_cannot_be_changed(admin):
    for model_id in ("unknown", "id-small"):
        error(await admin.post("/model/update", json={"model_info": {"id": model_id}}), 404)
    error(await admin.post("/model/update", json={"model_name": "x"}), 400, param="model_info.id")


async def test_a_taken_id_is_refused(admin):
    body = {"model_name": "fast", "litellm_params": PARAMETERS, "model_info": {"id": "mine"}}
    await post(admin, "/model/new", **body)

    error(await admin.post("/model/new", json=body), 400, param="model_info.id")


async def test_without_an_encryption_key_no_secret_is_stored(gateway):
    async with gateway.caller() as admin:
        body = {"model_name": "fast", "litellm_params": PARAMETERS}
        told = error(await admin.post("/model/new", json=body), 400, param="litellm_params.api_key")["message"]
        await post(admin, "/model/new", model_name="fast", litellm_params={"model": "openai/x"})

    assert "encryption_key" in told
    assert SECRET not in told


async def test_models_are_not_stored_where_the_operator_says_so(gateway):
    gateway.with_parts(settings=msgspec.structs.replace(gateway.parts.settings, store_model_in_db=False))
    async with gateway.caller() as admin:
        body = {"model_name": "fast", "litellm_params": {"model": "openai/x"}}
        assert "store_model_in_db" in error(await admin.post("/model/new", json=body), 403)["message"]


class TestInfo:
    async def test_every_model_is_shown_with_what_is_known_of_it(self, admin):
        row = await post(admin, "/model/new", model_name="fast", litellm_params=PARAMETERS)

        body = await get(admin, "/v1/model/info")
        model_admin.ShownModels.model_validate(body)
        assert [model["model_name"] for model in body["data"]] == ["gpt-4o", "gpt-4o", "small", "openai/*", "fast"]
        assert body["data"][0]["model_info"] == {
            "id": "id-gpt-4o", "db_model": False, "mode": "chat", "max_input_tokens": 128_000, "max_output_tokens": "x",
        }  # fmt: skip
        [one] = (await get(admin, "/model/info", litellm_model_id=row["model_id"]))["data"]
        assert one["litellm_params"] == {"model": "openai/gpt-4o-mini", "api_base": "https://api.openai.com/v1"}
        error(await admin.get("/model/info", params={"litellm_model_id": "unknown"}), 404)

    async def test_pages_and_a_search(self, admin):
        body = await get(admin, "/v2/model/info", size=3, page=2)
        model_admin.ModelPage.model_validate(body)
        assert ([model["model_name"] for model in body["data"]], body["total_count"], body["total_pages"]) == (
            ["openai/*"], 4, 2,
        )  # fmt: skip
        assert (await get(admin, "/v2/model/info", search="SMA"))["total_count"] == 1

    async def test_a_key_sees_its_own_models_and_not_where_they_lead(self, gateway, admin):
        made = await gateway.generate(models=["small"])
        async with gateway.caller(made["key"]) as owner:
            [model] = (await get(owner, "/model/info"))["data"]

        assert model["litellm_params"] == {"model": "openai/gpt-4o-mini"}
