"""The example settings behind the files in `envoy/`. `python -m tests.envoyconfig.renderings` writes those files again.

Paths and hosts are examples, and stable: a rendering changes only when the configuration that we build does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from extproc.envoyconfig import render
from extproc.model import Deployment, Upstream
from extproc.policy.minimal import Kept
from extproc.settings.model import Layout, Settings

FOLDER = Path(__file__).parents[2] / "envoy"
DATA_DIR = "/var/lib/llm-extproc"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
HEADER = """\
# Rendered by extproc/envoyconfig from the example `{name}` in tests/envoyconfig/renderings.py; do not edit.
# To render again: python -m tests.envoyconfig.renderings
"""

OPENAI = Upstream("api.openai.com", "https", "api.openai.com", 443, "/v1")
LOCAL = Upstream("127.0.0.1-8000", "http", "127.0.0.1", 8000, "/v1")


def settings_for(*upstreams: Upstream, **changes: Any) -> Settings:
    """Settings with one deployment per upstream."""
    deployments = tuple(
        Deployment(upstream.name, upstream.name, "openai", "m", upstream, f"{upstream.scheme}://{upstream.host}")
        for upstream in upstreams
    )
    return Settings(deployments=deployments, **changes)


def layout_in(directory: str, **changes: Any) -> Layout:
    """A layout with every socket and file in one directory."""
    values: dict[str, Any] = {
        "data_dir": directory,
        "processor_sockets": (f"{directory}/processor-0.sock",),
        "management_sockets": (f"{directory}/management-0.sock",),
        "admin_socket": f"{directory}/admin.sock",
        "certificate": f"{directory}/certificate.pem",
        "private_key": f"{directory}/private-key.pem",
        "ca_bundle": CA_BUNDLE,
    }
    return Layout(**(values | changes))


_MANAGERS = tuple(f"{DATA_DIR}/management-{worker}.sock" for worker in range(4))
_WORKERS = tuple(f"{DATA_DIR}/processor-{worker}.sock" for worker in range(4))

EXAMPLES: dict[str, tuple[Settings, Layout]] = {
    # `extproc up` as it comes: plaintext on loopback, TLS for everyone, one worker, OpenAI and a local server.
    "embedded": (settings_for(OPENAI, LOCAL), layout_in(DATA_DIR)),
    # TLS only, four workers, no client address in the log.
    "workers": (
        settings_for(OPENAI, kept=Kept(requester_ip=False)),
        layout_in(DATA_DIR, http_port=None, processor_sockets=_WORKERS, management_sockets=_MANAGERS),
    ),
}


def rendering(name: str) -> str:
    """The file's whole text."""
    document = yaml.safe_dump(render(*EXAMPLES[name]), sort_keys=False, width=120)
    return HEADER.format(name=name) + document


def main() -> None:
    """Write every rendering."""
    for name in EXAMPLES:
        (FOLDER / f"{name}.yaml").write_text(rendering(name))


if __name__ == "__main__":
    main()
