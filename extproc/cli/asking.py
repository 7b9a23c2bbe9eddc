"""Asking a running gateway's management API, for the commands that people type.

One request, one answer, one clear line where something went wrong. The exit code says what: 1 the gateway refused, 2
wrong arguments or settings, 3 no gateway answers, 4 there is no such thing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extproc.cli import profiles
from extproc.cli.options import DEFAULT_DATA_DIR
from extproc.errors import ExtprocError

if TYPE_CHECKING:
    import httpx2

REFUSED, UNREACHABLE, NOT_FOUND = 1, 3, 4
_SECONDS = 30.0
_PAGE = 100
#: How long the answer of something that goes on is asked for, and how often at least.
_PATIENCE_SECONDS = 3_600.0
_LONGEST_PAUSE_SECONDS = 30

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The gateway, such as https://gateway:8443.")]
ApiKey = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="The key to ask with; better told in EXTPROC_API_KEY or a profile."),
]
ProfileName = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A gateway of `extproc profile`.")]
LocalDataDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", help="Where `extproc up` of this machine keeps its master key.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure.")]


class Unsuccessful(ExtprocError):
    """The gateway did not do what was asked. `exit_code` says in which way."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def group(help_text: str) -> typer.Typer:
    """A group of commands that speak to one gateway, which the group's options name."""
    app = typer.Typer(help=help_text, no_args_is_help=True)

    @app.callback()
    def _chosen(
        context: typer.Context,
        url: Url = None,
        key: ApiKey = None,
        profile: ProfileName = None,
        data_dir: LocalDataDir = DEFAULT_DATA_DIR,
    ) -> None:
        context.obj = lambda: profiles.chosen(url, key, profile, data_dir)

    return app


class Gateway:
    """A running gateway. Every method raises `Unsuccessful`."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, json=body)

    def delete(self, path: str, body: Any) -> Any:
        return self._ask("DELETE", path, json=body)

    def delete_patiently(self, path: str, body: Any) -> Any:
        """The answer of a deletion that goes on in the background: asked for again until it is there."""
        until = time.monotonic() + _PATIENCE_SECONDS
        with _waiting():
            while True:
                response = self._response("DELETE", path, json=body)
                pause = response.headers.get("retry-after", "")
                is_going_on = response.status_code == 503 and "x-extproc-outage" not in response.headers
                if not (is_going_on and pause.isdecimal() and time.monotonic() < until):
                    return _read(response)
                time.sleep(min(int(pause), _LONGEST_PAUSE_SECONDS))

    def pages(self, path: str, rows: str, total: str, size: str, **query: Any) -> Iterator[Any]:
        """Every row of a list that comes in pages; `rows`, `total` and `size` are this list's names."""
        page, seen, expected = 1, 0, None
        with _progress() as advance:
            while expected is None or seen < expected:
                answer = self.get(path, page=page, **{size: _PAGE}, **query)
                found, expected = answer[rows], answer[total]
                advance(len(found), expected)
                yield from found
                page, seen = page + 1, seen + len(found)
                if not found:
                    return

    @contextmanager
    def stream(self, path: str, **query: Any) -> Iterator[Iterator[bytes]]:
        """The body of an answer, piece by piece."""
        import httpx2

        try:
            with self._client.stream("GET", path, params=query) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                yield response.iter_bytes()
        except httpx2.HTTPError as error:
            raise _unreachable(self._client, error) from None

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        return _read(self._response(method, path, **request))

    def _response(self, method: str, path: str, **request: Any) -> httpx2.Response:
        import httpx2

        try:
            return self._client.request(method, path, **request)
        except httpx2.HTTPError as error:
            raise _unreachable(self._client, error) from None


@contextmanager
def gateway(context: typer.Context) -> Iterator[Gateway]:
    """The gateway that the options, the environment or a profile name."""
    profile = context.obj()
    with client(profile.url, profile.ca, profile.key) as found:
        yield found


@contextmanager
def client(url: str, ca: str | None, key: str | None = None) -> Iterator[Gateway]:
    """The gateway at this URL, asked with this key or with none. `ca` is a PEM file to trust beside the system's."""
    import httpx2

    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=_SECONDS, verify=_trust(ca)) as found:
        yield Gateway(found)


def sure(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; without a terminal `--yes` is needed."""
    if not yes and not (sys.stdin.isatty() and typer.confirm(question)):
        raise Unsuccessful("nothing was done: confirm it, or say --yes", REFUSED)


def _read(response: httpx2.Response) -> Any:
    if response.is_error:
        raise _refusal(response)
    try:
        return response.json()
    except ValueError:
        raise Unsuccessful("the answer is not JSON: is this the URL of the gateway?", UNREACHABLE) from None


def _trust(authority: str | None) -> Any:
    import ssl

    context = ssl.create_default_context()
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise Unsuccessful(f"{authority} cannot be used as an authority: {error}", UNREACHABLE) from None
    return context


def _refusal(response: httpx2.Response) -> Unsuccessful:
    code = NOT_FOUND if response.status_code == 404 else REFUSED
    return Unsuccessful(f"{_message(response)} (HTTP {response.status_code})", code)


def _message(response: httpx2.Response) -> str:
    """The sentence in any of the envelopes that there are."""
    try:
        body = response.json()
    except ValueError:
        return response.reason_phrase
    if not isinstance(body, dict):
        return response.reason_phrase
    said = body.get("error", body.get("detail", body.get("message", response.reason_phrase)))
    if isinstance(said, list):
        return "; ".join(f"{'.'.join(map(str, each.get('loc', ())[1:]))}: {each.get('msg')}" for each in said)
    while isinstance(said, dict):
        said = said.get("message") or said.get("error") or "refused"
    return str(said)


def _unreachable(client: httpx2.Client, error: Exception) -> Unsuccessful:
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        reason += "; SSL_CERT_FILE, or --ca of `extproc profile set`, names the authority of its certificate"
    return Unsuccessful(f"{client.base_url} does not answer: {reason}", UNREACHABLE)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, for whoever looks at it, and only for a list of several pages."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading", total=None, visible=False)
        yield lambda done, total: bar.update(task, advance=done, total=total, visible=total > _PAGE)


@contextmanager
def _waiting() -> Iterator[None]:
    """Something that moves on stderr, for whoever looks at it."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        bar.add_task("erasing", total=None)
        yield
