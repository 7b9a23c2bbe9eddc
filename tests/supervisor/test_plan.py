"""What would run: the simulated provider where it is wanted, and the programs in their order."""

from __future__ import annotations

import sys

import pytest
from pydantic import SecretStr

from extproc.errors import ConfigError
from extproc.settings import demo
from extproc.supervisor import layout, plan
from extproc.supervisor.certificates import Certificates
from extproc.supervisor.master_key import MasterKey
from extproc.supervisor.plan import Wishes

CONFIG = """
model_list:
  - model_name: mine
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MY_PROVIDER_KEY}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_PROVIDER_KEY", raising=False)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "config.yaml"


def settings_and_words(tmp_path, **wishes):
    said: list[str] = []
    return plan.settings_for(Wishes(data_dir=tmp_path, **wishes), said.append), said


def test_without_a_configuration_the_simulated_provider_answers_and_says_so(tmp_path):
    settings, said = settings_and_words(tmp_path)

    assert demo.simulated_models(settings) == tuple(demo.MODELS)
    assert said == [
        "no provider key is configured, so a SIMULATED provider answers, no model is asked: " + ", ".join(demo.MODELS)
    ]


def test_with_a_usable_model_nothing_is_simulated(tmp_path, config, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider")

    settings, said = settings_and_words(tmp_path, config=config)

    assert demo.simulated_models(settings) == ()
    assert said == []


def test_the_simulated_provider_can_be_added_to_usable_models(tmp_path, config, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider")

    settings, said = settings_and_words(tmp_path, config=config, demo=True)

    assert [each.model_name for each in settings.deployments] == ["mine", *demo.MODELS]
    assert said == ["a SIMULATED provider answers, no model is asked: " + ", ".join(demo.MODELS)]


def test_a_model_without_its_key_is_warned_of_and_never_simulated(tmp_path, config):
    settings, said = settings_and_words(tmp_path, config=config)

    assert "mine" not in demo.simulated_models(settings)
    assert said[0] == "warning: model mine cannot be used: os.environ/MY_PROVIDER_KEY is not set"
    assert "SIMULATED" in said[1]


def test_without_the_simulated_provider_something_usable_is_needed(tmp_path, config):
    with pytest.raises(ConfigError, match="no model is configured: name one in model_list of --config FILE"):
        settings_and_words(tmp_path, demo=False)
    with pytest.raises(ConfigError, match=r"no provider key is set \(os.environ/MY_PROVIDER_KEY\)"):
        settings_and_words(tmp_path, demo=False, config=config)


def test_what_the_configuration_says_in_vain_is_warned_of(tmp_path, config):
    config.write_text(CONFIG + "litellm_settings: {no_such_setting: true}\n")

    _, said = settings_and_words(tmp_path, config=config)

    assert said[0].startswith(f"warning: {config}:5:")
    with pytest.raises(ConfigError, match="no_such_setting"):
        settings_and_words(tmp_path, config=config, strict=True)


def planned(tmp_path, **wished):
    wishes = Wishes(data_dir=tmp_path, **wished)
    settings = plan.settings_for(wishes, lambda _: None)
    place = layout.build(settings, tmp_path, layout.Ports(http=4000, https=0), workers=wishes.workers)
    tls = Certificates(tmp_path, tmp_path, None)
    key = MasterKey(value=SecretStr("sk-unused"), shell="$KEY")
    return plan.build(wishes, settings, place, binary=tmp_path / "envoy", tls=tls, key=key, on_screen=False)


def titles(found):
    return [[program.title for program in row] for row in found.inner]


def test_envoy_comes_last_when_all_that_it_leads_to_listens(tmp_path):
    found = planned(tmp_path)

    assert found.edge.title == "Envoy"
    assert titles(found) == [["the processor"], ["the simulated provider"]]
    assert [path.rpartition("/")[2] for path in found.sockets] == [
        "processor-0.sock",
        "management-0.sock",
        "provider.sock",
    ]


def test_the_simulated_provider_runs_only_where_it_answers(tmp_path, config, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider")
    monkeypatch.setenv("SSL_CERT_FILE", __file__)

    found = planned(tmp_path, config=config)

    assert titles(found) == [["the processor"]]
    assert len(found.sockets) == 2


def test_the_processor_is_this_program_with_the_same_wishes(tmp_path, config, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider")
    monkeypatch.setenv("SSL_CERT_FILE", __file__)

    ((processor,),) = planned(tmp_path, config=config, drain_seconds=7, strict=True).inner

    assert processor.command == (
        *(sys.executable, "-P", "-m", "extproc", "serve", "--config", str(config), "--strict"),
        *("--data-dir", str(tmp_path), "--drain-seconds", "7", "--until-stdin-ends"),
    )
    assert processor.lifeline


def test_the_processor_knows_on_which_ports_people_come(tmp_path, config, monkeypatch):
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-provider")
    monkeypatch.setenv("SSL_CERT_FILE", __file__)

    ((processor,),) = planned(tmp_path, config=config, ports=layout.Ports(http=0, https=9443)).inner

    assert processor.command[-5:-1] == ("--http-port", "0", "--https-port", "9443")


def test_the_processor_has_longer_to_stop_than_its_requests_to_end(tmp_path):
    found = planned(tmp_path, drain_seconds=7)

    assert found.drain_seconds == 7
    assert found.stop_seconds == (5, 22, 5)


SHARED = """
general_settings: {database_url: os.environ/MY_DATABASE}
router_settings: {redis_host: redis.example}
"""


def test_several_workers_are_one_row_each_with_its_number(tmp_path, config):
    config.write_text(CONFIG + SHARED)

    found = planned(tmp_path, config=config, workers=3)

    assert titles(found) == [["worker 0", "worker 1", "worker 2"], ["the simulated provider"]]
    assert [program.command[-5:-3] for program in found.inner[0]] == [("--worker", str(worker)) for worker in range(3)]
    assert len(found.sockets) == 7


@pytest.mark.parametrize(
    ("shared", "missing"),
    [
        ("", "general_settings.database_url (PostgreSQL) and router_settings.redis_url or redis_host"),
        ("general_settings: {database_url: os.environ/MY_DATABASE}", "router_settings.redis_url or redis_host"),
        ("router_settings: {redis_url: os.environ/MY_REDIS}", "general_settings.database_url (PostgreSQL)"),
    ],
)
def test_several_workers_need_what_they_share(tmp_path, config, shared, missing):
    config.write_text(CONFIG + shared)

    with pytest.raises(ConfigError) as refused:
        settings_and_words(tmp_path, config=config, workers=2)

    assert str(refused.value) == f"--workers 2 needs stores that all workers share: set {missing}"
