"""The commands that print and end: `check-config` and `render envoy`.

What they print is for people on a terminal and for machines elsewhere; secrets are shown by reference, never by value.
"""

from __future__ import annotations

import itertools
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extproc.cli.options import (
    DEFAULT_DATA_DIR,
    EVERYWHERE,
    AsJson,
    Config,
    DataDir,
    HttpPort,
    HttpsAddress,
    HttpsPort,
    Strict,
    TlsCert,
    TlsKey,
    Workers,
    pair,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extproc.guardrails import Configured
    from extproc.inspection.inspectors import Inspectors
    from extproc.model import Deployment, SecretRef
    from extproc.policy.sso import IdentityProvider
    from extproc.secrets import SecretResolver
    from extproc.settings.model import Settings

#: Exit code of `check-config --strict` for a reference that cannot be resolved here.
UNAVAILABLE_CODE = 1
#: Columns of a table that no terminal shows: a pager or a log need not fold what fits.
WIDE = 200
#: What a configuration has one of.
_SINGLE = ("master_key", "database")
_COLUMNS = ("model", "provider", "provider model", "api base", "credential", "state")


class Format(StrEnum):
    """How a document is printed."""

    YAML = "yaml"
    JSON = "json"


def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="LiteLLM's config.yaml.")],
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Check a configuration and show what it says. No secret's value is printed, no provider is asked.

    Ends with 0 if the file is valid, with 2 if it is not. With --strict, unknown settings are invalid, and a secret
    that is not available here ends it with 1.
    """
    from extproc import settings
    from extproc.secrets import SecretResolver

    loaded = settings.load(file, strict=strict)
    report = _report(loaded, SecretResolver())
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _print_report(file, report)
    rows = (report[name] for name in ("models", "guardrails", "sso_providers"))
    told = [*itertools.chain(*rows), *(report[name] for name in _SINGLE)]
    if strict and any(each["state"] != "ok" for each in told):
        raise typer.Exit(UNAVAILABLE_CODE)


def render_envoy(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: HttpPort = 4000,
    https_port: HttpsPort = 8443,
    https_address: HttpsAddress = EVERYWHERE,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    strict: Strict = False,
    workers: Workers = 1,
    output: Annotated[Format, typer.Option("--format", help="The form of the bootstrap.")] = Format.YAML,
) -> None:
    """Print Envoy's bootstrap, to read it or to run it elsewhere. Nothing is made, changed or looked for."""
    import yaml

    from extproc import envoyconfig, settings
    from extproc.supervisor import certificates, layout

    loaded = settings.load(config, strict=strict)
    ports = layout.Ports(http=http_port, https=https_port, https_address=https_address)
    own = pair(tls_cert, tls_key)
    tls = certificates.Certificates(own[0].absolute(), own[1].absolute(), None) if own else None
    bootstrap = envoyconfig.render(loaded, layout.build(loaded, data_dir, ports, workers=workers, tls=tls))
    text = json.dumps(bootstrap, indent=2) if output is Format.JSON else yaml.safe_dump(bootstrap, sort_keys=False)
    typer.echo(text.rstrip("\n"))


def _report(loaded: Settings, resolver: SecretResolver) -> dict[str, Any]:
    return {
        "models": [_row(each, resolver) for each in loaded.deployments],
        "master_key": _master_key(loaded.master_key),
        "database": _database(loaded.database_url, resolver),
        "guardrails": _guardrails(loaded) if loaded.guardrails else [],
        "sso_providers": [_sso_row(each, resolver) for each in (loaded.sso.providers if loaded.sso else ())],
        "unsupported": list(loaded.unsupported),
    }


def _row(deployment: Deployment, resolver: SecretResolver) -> dict[str, str]:
    from extproc.settings import demo

    state = "ok" if demo.is_usable(deployment, resolver) else "missing"
    return {
        "model": deployment.model_name,
        "provider": deployment.provider,
        "provider_model": deployment.provider_model,
        "api_base": deployment.api_base,
        "credential": str(deployment.credential) if deployment.credential else "none needed",
        "state": state,
    }


def _sso_row(provider: IdentityProvider, resolver: SecretResolver) -> dict[str, Any]:
    """`state` is `ok`, or what is missing here. The provider is not asked."""
    from extproc.errors import SecretUnavailable

    state = "ok"
    for reference in (provider.client_id, provider.client_secret):
        try:
            resolver.resolve(reference)
        except SecretUnavailable as error:
            state = str(error)
            break
    return {
        "name": provider.name,
        "issuer": provider.issuer,
        "client_id": str(provider.client_id),
        "allowed_domains": [*provider.allowed_domains],
        "state": state,
    }


def _master_key(reference: SecretRef | None) -> dict[str, str]:
    """`state` is `ok` or the sentence that `up` would end with. Raises `ConfigError` for a weak key in the file."""
    from extproc.errors import ConfigError
    from extproc.supervisor import master_key

    if reference is None:
        return {"reference": "made at the first start", "state": "ok"}
    try:
        master_key.resolve(reference, Path())
    except ConfigError as error:
        if reference.scheme == "literal":
            raise
        return {"reference": str(reference), "state": str(error)}
    return {"reference": str(reference), "state": "ok"}


def _database(reference: SecretRef | None, resolver: SecretResolver) -> dict[str, str]:
    """As `_master_key`. The URL is read, nobody is connected to."""
    from extproc.errors import ConfigError, SecretUnavailable
    from extproc.stores import sql_url

    if reference is None:
        return {"reference": "embedded SQLite", "state": "ok"}
    try:
        sql_url.read(resolver.resolve(reference).get_secret_value())
    except (ConfigError, SecretUnavailable) as error:
        return {"reference": str(reference), "state": str(error)}
    return {"reference": str(reference), "state": "ok"}


def _guardrails(loaded: Settings) -> list[dict[str, Any]]:
    """Each with what it acts on. They are made ready as at a start, so that what would stop one is told."""
    import asyncio

    return asyncio.run(_made_ready(loaded.guardrails))


async def _made_ready(configured: Iterable[Configured]) -> list[dict[str, Any]]:
    from extproc.inspection.inspectors import Inspectors

    inspectors = Inspectors()
    rows = [_guardrail(each, inspectors) for each in configured]
    await inspectors.close()
    return rows


def _guardrail(configured: Configured, inspectors: Inspectors) -> dict[str, Any]:
    from extproc import guardrails
    from extproc.errors import ConfigError

    state = "ok"
    try:
        guardrails.compiled([configured], inspectors.of)
    except ConfigError as error:
        state = str(error).removeprefix(f"guardrail {configured.name}: ")
    request, response = configured.acts_on()
    return {
        "name": configured.name,
        "default_on": configured.default_on,
        "dry_run": configured.policy.dry_run,
        "request": request,
        "response": response,
        "state": state,
    }


def _guardrail_line(row: dict[str, Any]) -> str:
    asked, answered = len(row["request"]), len(row["response"])
    words = [f"looks for {asked} entit{'y' if asked == 1 else 'ies'} in requests, {answered} in answers"]
    words += ["on by default" if row["default_on"] else "where it is named", *(["dry run"] if row["dry_run"] else [])]
    return f"guardrail {row['name']}: {'; '.join(words)} ({row['state']})"


def _print_report(file: Path, report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else WIDE, soft_wrap=not on_terminal, highlight=False)
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in report["models"]:
        # As text: a name in square brackets is not markup.
        table.add_row(*(Text(value, overflow="fold") for value in row.values()))
    console.print(table)
    for name in _SINGLE:
        single = report[name]
        console.print(Text(f"{name.replace('_', ' ')}: {single['reference']} ({single['state']})"))
    for row in report["guardrails"]:
        console.print(Text(_guardrail_line(row)))
    for row in report["sso_providers"]:
        who = f"{row['issuer']}, for {', '.join(row['allowed_domains'])}"
        console.print(Text(f"sso provider {row['name']}: {who} ({row['state']})"))
    for line in report["unsupported"]:
        typer.echo(f"warning: {line}", err=True)
    count = len(report["models"])
    console.print(Text(f"{file} is valid: {count} model{'' if count == 1 else 's'}"))
