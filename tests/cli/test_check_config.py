"""`check-config`: what a configuration says, without a secret and without asking anybody."""

from __future__ import annotations

import json

import pytest

CONFIG = """\
model_list:
  - model_name: "mine [beta]"
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MY_PROVIDER_KEY}
  - model_name: local
    litellm_params: {model: openai/llama, api_base: "http://127.0.0.1:9/v1", api_key: sk-written-in-the-file}
general_settings: {master_key: os.environ/MY_MASTER_KEY}
"""
PROVIDER_KEY = "sk-provider-9fQ2vLx7RtB4"
MASTER_KEY = "sk-9fQ2vLx7RtB4mWc8ZpJd"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", PROVIDER_KEY)
    monkeypatch.setenv("MY_MASTER_KEY", MASTER_KEY)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_a_valid_configuration_is_shown_as_a_table(run, file):
    ended = run("check-config", str(file))

    assert ended.code == 0
    _, mine, local, master, database, last = ended.out.splitlines()
    assert mine.split("  ")[0] == "mine [beta]"
    assert "os.environ/MY_PROVIDER_KEY" in mine
    assert mine.rstrip().endswith("ok")
    assert "http://127.0.0.1:9/v1" in local
    assert master == "master key: os.environ/MY_MASTER_KEY (ok)"
    assert database == "database: embedded SQLite (ok)"
    assert last == f"{file} is valid: 2 models"


def test_what_no_terminal_shows_is_not_folded(run, file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    base = "https://a-provider-with-a-long-name.example/and/a/longer/path/to/v1"
    file.write_text(f"model_list: [{{model_name: far, litellm_params: {{model: hosted_vllm/m, api_base: {base}}}}}]\n")

    _, far, *_, last = run("check-config", str(file)).out.splitlines()

    assert base in far
    assert last == f"{file} is valid: 1 model"


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--strict",)])
def test_no_secret_is_shown_in_any_form(run, file, arguments):
    ended = run("check-config", str(file), *arguments)

    for secret in (PROVIDER_KEY, MASTER_KEY, "sk-written-in-the-file"):
        assert secret not in ended.out + ended.err


def test_machines_get_json(run, file):
    report = json.loads(run("check-config", str(file), "--json").out)

    assert report["models"][0] == {
        "model": "mine [beta]",
        "provider": "openai",
        "provider_model": "gpt-4o",
        "api_base": "https://api.openai.com/v1",
        "credential": "os.environ/MY_PROVIDER_KEY",
        "state": "ok",
    }
    assert report["master_key"] == {"reference": "os.environ/MY_MASTER_KEY", "state": "ok"}
    assert report["unsupported"] == []


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
@pytest.mark.parametrize("name", ["MY_PROVIDER_KEY", "MY_MASTER_KEY"])
def test_a_secret_that_is_not_there_is_told_and_counts_where_it_is_strict(run, file, monkeypatch, name, strict, code):
    """The file may be checked where its secrets are not."""
    monkeypatch.delenv(name)

    ended = run("check-config", str(file), "--json", *strict)
    report = json.loads(ended.out)

    assert ended.code == code
    missing = report["master_key"]["state"] if name == "MY_MASTER_KEY" else report["models"][0]["state"]
    assert missing != "ok"


def test_a_weak_master_key_is_told(run, file, monkeypatch):
    monkeypatch.setenv("MY_MASTER_KEY", "sk-1234")

    assert "is weak" in run("check-config", str(file)).out
    assert run("check-config", str(file), "--strict").code == 1


def test_a_weak_master_key_in_the_file_itself_makes_it_invalid(run, file):
    """Nothing outside of the file can mend it."""
    file.write_text("general_settings: {master_key: sk-1234}\n")

    ended = run("check-config", str(file))

    assert (ended.code, ended.out) == (2, "")
    assert "is weak" in ended.err


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("mysql://user:p9fQ2vLx7@db/name", "must begin with postgresql://"),
        ("postgresql://user:p9fQ2vLx7@db/name?sslmod=require", "parameters that are not known: sslmod"),
        ("os.environ/NO_SUCH_URL", "os.environ/NO_SUCH_URL is not set"),
        ("postgresql://user:p9fQ2vLx7@db/name", "ok"),
    ],
)
def test_the_databases_url_is_read_without_asking_the_database(run, file, url, state):
    file.write_text(f"general_settings: {{database_url: '{url}'}}\n")

    lenient, strict = run("check-config", str(file), "--json"), run("check-config", str(file), "--strict")

    assert state in json.loads(lenient.out)["database"]["state"]
    assert (lenient.code, strict.code) == (0, 0 if state == "ok" else 1)
    assert "p9fQ2vLx7" not in lenient.out + lenient.err + strict.out + strict.err


GUARDRAILS = """\
guardrails:
  - guardrail_name: pii
    litellm_params:
      guardrail: presidio
      mode: [pre_call, post_call]
      default_on: true
      pii_entities_config: {EMAIL_ADDRESS: MASK, US_SSN: BLOCK, IP_ADDRESS: ALLOW}
      response: {EMAIL_ADDRESS: mask}
  - guardrail_name: names
    litellm_params:
      guardrail: presidio
      dry_run: true
      pii_entities_config: {PERSON: MASK}
      presidio_analyzer_api_base: os.environ/NO_SUCH_ANALYZER
"""


def test_guardrails_are_shown_with_what_they_look_for_and_what_would_stop_a_start(run, file):
    file.write_text(CONFIG + GUARDRAILS)
    missing = "presidio_analyzer_api_base: os.environ/NO_SUCH_ANALYZER is not set or is empty"
    ended, strict = run("check-config", str(file)), run("check-config", str(file), "--strict")
    report = json.loads(run("check-config", str(file), "--json").out)["guardrails"]

    assert [line for line in ended.out.splitlines() if line.startswith("guardrail ")] == [
        "guardrail pii: looks for 2 entities in requests, 1 in answers; on by default (ok)",
        f"guardrail names: looks for 1 entity in requests, 0 in answers; where it is named; dry run ({missing})",
    ]
    assert (ended.code, strict.code) == (0, 1)
    assert [each["request"] for each in report] == [["EMAIL_ADDRESS", "US_SSN"], ["PERSON"]]


def test_an_unknown_setting_is_a_warning_and_an_error_where_it_is_strict(run, file):
    file.write_text(CONFIG + "litellm_settings: {no_such_setting: 1}\n")

    lenient, strict = run("check-config", str(file)), run("check-config", str(file), "--strict")

    assert lenient.code == 0
    assert lenient.err.startswith(f"warning: {file}:7:")
    assert strict.code == 2
    assert "no_such_setting" in strict.err


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--strict",)])
def test_every_error_is_a_line_with_its_place(run, file, arguments):
    file.write_text("model_list: 7\ngeneral_settings: []\n")

    ended = run("check-config", str(file), *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert [line.partition(" ")[2].split(" ")[0] for line in ended.err.splitlines()] == [
        f"{file}:1:13:",
        f"{file}:2:19:",
    ]


def test_a_file_that_is_not_there_is_refused(run, tmp_path):
    ended = run("check-config", str(tmp_path / "nowhere.yaml"))

    assert ended.code == 2
    assert ended.err.startswith(f"error: {tmp_path}/nowhere.yaml: ")


SSO = """\
general_settings:
  encryption_key: os.environ/MY_MASTER_KEY
  sso_providers:
    - {provider: oidc, name: company, issuer: "https://id.company.com", client_id: c, client_secret: p9fQ2vLx7,
       allowed_domains: [company.com, eu.company.com]}
    - {provider: google, client_id: os.environ/NO_SUCH_ID, allowed_domains: [company.com]}
"""


def test_who_people_log_in_with_is_shown_and_what_is_missing_for_it(run, file, monkeypatch):
    monkeypatch.delenv("GOOGLE_CLIENT_SECRET", raising=False)
    file.write_text(SSO)

    shown, told, strict = (run("check-config", str(file), *more) for more in ((), ("--json",), ("--strict",)))

    lines = [line for line in shown.out.splitlines() if line.startswith("sso provider")]
    company, google = lines
    assert company == "sso provider company: https://id.company.com, for company.com, eu.company.com (ok)"
    assert google.startswith("sso provider google: https://accounts.google.com, for company.com (os.environ/NO_SUCH_ID")
    assert [row["name"] for row in json.loads(told.out)["sso_providers"]] == ["company", "google"]
    assert (shown.code, strict.code) == (0, 1)
    assert "p9fQ2vLx7" not in shown.out + told.out + strict.out
