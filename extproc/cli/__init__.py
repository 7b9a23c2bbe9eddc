"""The command line. It reads arguments, calls one function for each command, and turns errors into one clear line.

Exit codes: 0 for success, 2 for what the operator must mend (arguments, configuration, surroundings), 1 for anything
else that went wrong. Modules are imported by the command that needs them, so that `--help` and `--version` are quick.
`options.py` holds what commands share, `running.py` what runs until it is stopped, `showing.py` what prints and ends,
`verifying.py` and `auditing.py` what looks into the stores, `importing.py` what brings rows from elsewhere.
`asking.py` is how the commands for people (`keys.py`, `owners.py`, `spending.py`, …) speak to a running gateway.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from extproc import __version__
from extproc.cli import (
    asking,
    auditing,
    importing,
    keys,
    login,
    migrating,
    owners,
    profile,
    redacting,
    rotating,
    running,
    showing,
    spending,
    verifying,
)
from extproc.errors import ConfigError, ExtprocError

CONFIG_ERROR_CODE = 2

app = typer.Typer(
    name="extproc",
    help="Keys, budgets and spend for LLM traffic, as an external processor of Envoy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(running.up)
app.command()(running.serve)
app.command("check-config")(showing.check_config)
app.command("rotate-master-key")(rotating.rotate_master_key)
app.command("rotate-encryption-key")(rotating.rotate_encryption_key)
app.command("verify-ledger")(verifying.verify_ledger)
app.command("verify-audit")(auditing.verify_audit)
app.command("verify-receipt")(auditing.verify_receipt)
app.command()(login.login)
app.command()(login.logout)
app.command()(redacting.redact)
app.command()(migrating.migrate)
app.command("import-litellm")(importing.import_litellm)
app.command("simulate-provider", hidden=True)(running.simulate_provider)
rendering = typer.Typer(help="Print what extproc would hand to another program.", no_args_is_help=True)
rendering.command("envoy")(showing.render_envoy)
app.add_typer(rendering, name="render")
for _name, _group in (
    ("keys", keys.app),
    ("teams", owners.teams),
    ("users", owners.users),
    ("customers", owners.customers),
    ("budgets", owners.budgets),
    ("models", spending.models),
    ("spend", spending.spend),
    ("audit", spending.audit),
    ("profile", profile.app),
):
    app.add_typer(_group, name=_name)


def main() -> None:
    """The entry point of the command `extproc`. Ends the process."""
    try:
        app(prog_name="extproc")
    except ExtprocError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        sys.exit(_exit_code(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _exit_code(error: ExtprocError) -> int:
    if isinstance(error, asking.Unsuccessful):
        return error.exit_code
    return CONFIG_ERROR_CODE if isinstance(error, ConfigError) else 1


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"extproc {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
