"""`extproc keys`, `teams`, `users`, …: against a running management API, as an operator types them."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading

import pytest
from cli.running_management import MASTER, running_management

from extproc.cli import asking
from extproc.supervisor import certificates

VARIABLES = (
    "EXTPROC_URL", "EXTPROC_API_KEY", "LITELLM_PROXY_URL", "LITELLM_PROXY_API_KEY", "EXTPROC_PROFILE", "SSL_CERT_FILE",
)  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running_management(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody's profiles and no variable of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(run, url, monkeypatch):
    """Run a command against the gateway as the administrator; what it printed."""
    monkeypatch.setenv("EXTPROC_URL", url)
    monkeypatch.setenv("EXTPROC_API_KEY", MASTER)

    def ask_for(*arguments):
        ended = run(*arguments)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    return ask_for


def lines(text, first):
    """The cells of each line that begins so."""
    return [line.split() for line in text.splitlines() if line.startswith(first)]


def test_a_key_is_made_listed_shown_changed_blocked_and_deleted(ask):
    key = ask("keys", "create", "--alias", "front-end", "--max-budget", "5", "--model", "gpt-4o", "--rpm", "9").strip()
    hidden = f"sk-...{key[-4:]}"

    assert key.startswith("sk-")
    assert lines(ask("keys", "list"), "front-end")[0][:7] == ["front-end", hidden, "active", "-", "-", "$0", "$5"]
    assert key not in ask("keys", "list", "--json")
    assert lines(ask("keys", "show", key), "rpm_limit") == [["rpm_limit", "9"]]
    assert lines(ask("keys", "update", key, "--set", "max_budget=null"), "max_budget") == []
    assert ask("keys", "block", key) == f"{hidden}: blocked\n"
    assert json.loads(ask("keys", "show", key, "--json"))["blocked"] is True
    assert ask("keys", "unblock", key) == f"{hidden}: unblocked\n"
    assert ask("keys", "delete", key, "--yes") == "1 deleted\n"
    assert ask("keys", "list", "--search", "front-end") == "no keys\n"


def test_nothing_is_suspicious_where_nothing_was_used(ask):
    assert ask("keys", "suspicious", "--hours", "24", "--threshold", "5") == "nothing suspicious\n"
    assert ask("keys", "suspicious", "--all", "--json") == "[]\n"


def test_a_key_gets_a_new_secret(ask):
    old = ask("keys", "create").strip()

    new = ask("keys", "regenerate", old, "--grace-period", "1h").strip()

    assert new.startswith("sk-")
    assert new != old
    assert json.loads(ask("keys", "regenerate", new, "--json"))["key"].startswith("sk-")


def test_a_user_is_blocked_and_admitted_again(ask):
    ask("users", "create", "eve")

    assert ask("users", "block", "eve") == "eve: blocked\n"
    assert ask("users", "unblock", "eve") == "eve: unblocked\n"


def test_a_list_of_several_pages_is_shown_whole(ask, monkeypatch):
    monkeypatch.setattr(asking, "_PAGE", 2)
    for number in range(5):
        ask("keys", "create", "--alias", f"many-{number}")

    assert len(json.loads(ask("keys", "list", "--search", "many-", "--json"))) == 5


def test_teams_have_members(ask):
    team = ask("teams", "create", "--alias", "engineering", "--max-budget", "10").strip()

    assert ask("teams", "add-member", team, "ann", "--max-budget", "2") == f"ann is in {team}\n"
    members = json.loads(ask("teams", "show", team, "--json"))["members_with_roles"]
    assert "ann" in [member["user_id"] for member in members]
    assert lines(ask("teams", "list"), team)[0][1:5] == ["engineering", "no", "$0", "$10"]
    assert ask("teams", "block", team) == f"{team}: blocked\n"
    assert ask("teams", "unblock", team) == f"{team}: unblocked\n"
    assert ask("teams", "remove-member", team, "ann") == f"ann is not in {team} any more\n"
    assert ask("teams", "delete", team, "-y") == "1 deleted\n"


def test_users_customers_and_budgets_are_made_and_listed(ask):
    made = ask("users", "create", "bob", "--email", "bob@company.com", "--role", "internal_user").split()

    assert (made[0], made[1][:3]) == ("bob", "sk-")
    assert lines(ask("users", "list"), "bob")[0][:3] == ["bob", "bob@company.com", "internal_user"]
    assert lines(ask("users", "show", "bob"), "user_email") == [["user_email", "bob@company.com"]]
    assert ask("users", "delete", "bob", "--yes") == "1 deleted\n"
    assert ask("budgets", "create", "monthly", "--max-budget", "7.5", "--budget-duration", "30d") == "monthly\n"
    assert lines(ask("budgets", "list"), "monthly")[0][:4] == ["monthly", "$7.5", "-", "30d"]
    assert ask("customers", "block", "mallory") == "1 blocked\n"
    assert lines(ask("customers", "list"), "mallory")[0][2] == "yes"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("keys", "show", "sk-not-there-0123456789"), 4, "Key not found in database (HTTP 404)"),
        (("keys", "create", "--set", "duration=soon"), 1, "Invalid duration: a duration is a whole number"),
        (("keys", "create", "--set", "rpm_limit=many"), 1, "rpm_limit: Input should be a valid integer"),
        (("keys", "create", "--set", "x"), 2, "--set x: write it as FIELD=VALUE"),
        (("keys", "delete", "sk-x"), 1, "nothing was done: confirm it, or say --yes"),
        (("keys", "--profile", "nowhere", "list"), 2, "there is no profile 'nowhere' in "),
        (("keys", "--url", "ftp://x", "list"), 2, "a gateway's URL begins with https:// or http://"),
        (("keys", "--url", "http://u:p@x", "list"), 2, "a gateway's URL holds no user and no password"),
        (("keys", "--key", "sk-wrong-0123456789012", "list"), 1, "Authentication Error"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(run, url, monkeypatch, arguments, code, said):
    monkeypatch.setenv("EXTPROC_URL", url)
    monkeypatch.setenv("EXTPROC_API_KEY", MASTER)

    ended = run(*arguments)

    assert ended.code == code
    assert ended.err.startswith(f"error: {said}")
    assert len(ended.err.splitlines()) == 1


def test_a_gateway_that_does_not_answer_is_an_exit_code_of_its_own(run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ended = run("keys", "--url", nowhere, "--key", "sk-x", "list")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"error: {nowhere} does not answer: ")


def test_without_a_gateway_it_says_how_to_name_one(run):
    ended = run("keys", "list")

    assert ended.code == 2
    assert "EXTPROC_URL" in ended.err


def test_the_master_key_of_a_gateway_on_this_machine_is_found(run, url, home):
    (home / "extproc-data").mkdir()
    (home / "extproc-data" / "master_key").write_text(MASTER + "\n")

    assert run("keys", "--url", url, "list").code == 0


def test_a_profile_is_kept_for_its_owner_only_and_its_key_is_not_shown(run, url, home, monkeypatch):
    monkeypatch.setenv("MY_KEY", MASTER)
    assert run("profile", "set", "--url", url, "--key", "os.environ/MY_KEY").code == 0
    assert run("profile", "set", "other", "--url", "https://gateway", "--key", "sk-secret-of-mine").code == 0
    (kept,) = (home / "config" / "llm-extproc").iterdir()

    listed = run("profile", "list").out

    assert kept.stat().st_mode & 0o777 == 0o600
    assert "os.environ/MY_KEY" in listed
    assert "sk-secret-of-mine" not in listed
    assert run("keys", "list").code == 0
    assert run("keys", "--profile", "other", "list").code == 3
    assert run("profile", "remove").out == "default: forgotten\n"
    assert run("keys", "list").code == 2


def test_the_variables_of_litellms_command_line_are_known(run, url, monkeypatch):
    monkeypatch.setenv("LITELLM_PROXY_URL", url)
    monkeypatch.setenv("LITELLM_PROXY_API_KEY", MASTER)

    assert run("teams", "list").code == 0


def test_a_profile_is_used_from_every_folder(run, url, home, monkeypatch):
    (home / "key").write_text(MASTER)
    certificates.ensure(home, "localhost", datetime.datetime.now(datetime.UTC))
    assert run("profile", "set", "--url", url, "--key", "file/key", "--ca", "ca.pem").code == 0
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")

    assert run("keys", "list").code == 0


@pytest.fixture
def unknown(tmp_path):
    """The URL of a server whose certificate nobody vouches for. It ends with the first client."""
    made = certificates.ensure(tmp_path / "tls", "localhost", datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.private_key)

    def greet(listening):
        with contextlib.suppress(OSError), context.wrap_socket(listening, server_side=True) as server:
            server.accept()

    listening = socket.create_server(("127.0.0.1", 0))
    greeting = threading.Thread(target=greet, args=(listening,), daemon=True)
    url = f"https://localhost:{listening.getsockname()[1]}"
    greeting.start()
    yield url
    greeting.join(10)


def test_a_certificate_that_nobody_vouches_for_is_told_with_what_helps(run, unknown):
    ended = run("keys", "--url", unknown, "--key", "sk-x", "list")

    assert (ended.code, ended.out) == (3, "")
    assert "CERTIFICATE_VERIFY_FAILED" in ended.err
    assert "SSL_CERT_FILE, or --ca of `extproc profile set`, names the authority" in ended.err
