"""What to try first: commands that work as they are printed, in another terminal of the same directory.

The master key is never shown in them: the shell reads it from where it is kept. Python is the one that runs this,
because the machine's own may refuse to install anything.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from extproc.settings import demo
from extproc.settings.model import Settings

_MAKE_KEY = """\
# a virtual key with a budget
export OPENAI_API_KEY=$(curl -sS{trust} {base}/key/generate \\
  -H "Authorization: Bearer {master}" -H "Content-Type: application/json" \\
  -d '{{{models}"max_budget": 5}}' | sed 's/.*"key": *"\\([^"]*\\)".*/\\1/')
"""
_CHAT = """\
# a streamed chat completion
curl -sSN{trust} {base}/v1/chat/completions \\
  -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

# the same with OpenAI's Python SDK (once: {python} -m pip install openai)
{environment}OPENAI_BASE_URL={base}/v1 {python} -c '
from openai import OpenAI
question = [{{"role": "user", "content": "Hello!"}}]
for chunk in OpenAI().chat.completions.create(model="{model}", messages=question, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()'
"""
_SPEND = """\
# what it cost
curl -sS{trust} {base}/spend/logs -H "Authorization: Bearer {master}"
"""
#: A name that means nothing to a shell, nor to JSON.
_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)
_NOT_CHAT = ("embedding", "instruct", "whisper", "tts", "dall-e", "moderation", "rerank")


class Access(msgspec.Struct, frozen=True):
    """How a client gets in. `authority` is the file it must trust; `master` fills a shell's double quotes."""

    urls: tuple[str, ...]
    authority: Path | None
    master: str


def ready_line(urls: Sequence[str]) -> str:
    """The one line that says that every listener answers."""
    return f"ready: {' '.join(urls)}"


def text(settings: Settings, access: Access) -> str:
    """The commands, for a terminal of 120 columns."""
    simulated = demo.simulated_models(settings)
    values = _values(access, _chat_model(settings, simulated))
    parts = [_MAKE_KEY.format(**values), _SPEND.format(**values)]
    if values["model"]:
        parts.insert(1, _CHAT.format(**values))
    if access.master == "$MASTER_KEY":
        parts.insert(0, "# MASTER_KEY stands for the general_settings.master_key of your configuration\n")
    return "\n".join([f"\nTry this in another terminal{_source(simulated)}:\n", *parts])


def _source(simulated: Sequence[str]) -> str:
    return " (the answers are made up by a simulated provider, no model is asked)" if simulated else ""


def _values(access: Access, model: str) -> dict[str, str]:
    base = access.urls[-1]
    trusts = access.authority is not None and base.startswith("https:")
    authority = shlex.quote(str(access.authority))
    return {
        "base": base,
        "trust": f" --cacert {authority}" if trusts else "",
        "environment": f"SSL_CERT_FILE={authority} " if trusts else "",
        "master": access.master,
        "python": shlex.quote(sys.executable),
        "model": model,
        "models": f'"models": ["{model}"], ' if model else "",
    }


def _chat_model(settings: Settings, simulated: Sequence[str]) -> str:
    """A name that a chat can be held with, as far as names tell; empty where all are wildcards or something else."""
    names = [*simulated, *(each.model_name for each in settings.deployments)]
    chatty = (name for name in names if _PLAIN.fullmatch(name) and not any(word in name for word in _NOT_CHAT))
    return next(chatty, "")
