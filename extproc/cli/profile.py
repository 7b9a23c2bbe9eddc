"""`extproc profile`: which gateways the other commands speak to."""

from __future__ import annotations

from typing import Annotated

import typer

from extproc.cli import profiles, tables
from extproc.cli.options import AsJson
from extproc.errors import ConfigError

app = typer.Typer(help="Keep the URL and the key of gateways, for the commands that ask them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="[NAME]")]


@app.command("set")
def keep(
    name: Name = profiles.DEFAULT_PROFILE,
    url: Annotated[str, typer.Option("--url", prompt="URL of the gateway")] = "",
    key: Annotated[
        str,
        typer.Option(
            "--key", prompt="Key, or a reference such as os.environ/NAME or file/PATH", hide_input=True,
            help="A reference (os.environ/NAME, file/PATH) or the key itself.",
        ),
    ] = "",
    ca: Annotated[str, typer.Option("--ca", metavar="FILE", help="The authority of its certificate (PEM).")] = "",
) -> None:  # fmt: skip
    """Keep a gateway under a name. The file is readable for its owner only."""
    profiles.check_url(url)
    if key.startswith("file/"):
        key = "file/" + profiles.absolute(key.removeprefix("file/"))
    kept = {**profiles.read(), name: {"url": url, "key": key, "ca": profiles.absolute(ca)}}
    typer.echo(f"kept in {profiles.write(kept)}")


@app.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """The gateways that are kept; keys are not shown, references are."""
    rows = [
        {"name": name, "url": kept.get("url"), "key": _shown(str(kept.get("key", ""))), "ca": kept.get("ca")}
        for name, kept in profiles.read().items()
    ]
    tables.show(rows, ("name", "url", "key", "ca"), as_json=as_json, empty="no profiles")


@app.command()
def remove(name: Name = profiles.DEFAULT_PROFILE) -> None:
    """Forget a gateway."""
    kept = profiles.read()
    if name not in kept:
        raise ConfigError(f"there is no profile {name!r}")
    profiles.write({each: value for each, value in kept.items() if each != name})
    typer.echo(f"{name}: forgotten")


def _shown(key: str) -> str:
    return key if key.startswith(("os.environ/", "file/")) else "***"
