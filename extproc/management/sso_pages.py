"""The pages that people see who log in: plain HTML without scripts, styles or anything from elsewhere.

Whatever is put in is escaped, and the policy would let nothing run or load that were not. No cache keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse

_HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_KEY = """<p>You are logged in as {email}. This is your key. It is shown once, and is valid until {expires}:</p>
<p><code>{key}</code></p>
<p>Send it as <code>Authorization: Bearer</code>, or keep it for a program:</p>
<pre>export OPENAI_BASE_URL={base}/v1
export OPENAI_API_KEY=&lt;your key&gt;</pre>
<p>The command line gets one by itself: <code>extproc login --url {base}</code>.</p>
<p>Close this page when you have the key.</p>"""

_CLI = """<p>You are logged in as {email}. A program on this computer waits for a key of yours, at port {port}.</p>
<p>If you have just typed <code>extproc login</code>, <a href="{url}">let it have the key</a>.</p>
<p>If you have not, close this page: somebody else wants a key of yours.</p>"""


def key_page(*, key: str, email: str, expires: str, base_url: str) -> HTMLResponse:
    """The only place where the key of a login is shown."""
    told = {"key": key, "email": email, "expires": expires, "base": base_url}
    return _page("You are logged in", _KEY.format(**{name: escape(value) for name, value in told.items()}))


def command_line_page(*, email: str, port: int, url: str) -> HTMLResponse:
    """Nothing goes to the loopback before the person says so: a link from anywhere may have begun this login."""
    told = {"email": email, "port": str(port), "url": url}
    return _page("Log in the command line", _CLI.format(**{name: escape(value) for name, value in told.items()}))


def providers_page(names: Sequence[str], base_url: str) -> HTMLResponse:
    """Where to log in, if there are several."""
    links = "\n".join(_link(f"{base_url}/sso/key/generate?{urlencode({'provider': name})}", name) for name in names)
    return _page("Log in", f"<ul>\n{links}\n</ul>")


def _link(url: str, name: str) -> str:
    return f'<li><a href="{escape(url)}">{escape(name)}</a></li>'


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, body=body), headers=_HEADERS)
