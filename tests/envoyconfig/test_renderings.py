"""The committed bootstraps are what the code renders, and Envoy loads them and their variants."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from envoyconfig.edge import write_certificate
from envoyconfig.renderings import DATA_DIR, EXAMPLES, FOLDER, LOCAL, OPENAI, layout_in, rendering, settings_for
from running_envoy import validate

from extproc.envoyconfig import render
from extproc.model import Upstream

UNIX = Upstream("simulated", "http", "localhost", 80, "/v1", "/run/simulated.sock")
IPV6 = Upstream("six", "https", "2001:db8::1", 8443, "")

VARIANTS: dict[str, tuple[tuple[Upstream, ...], dict[str, Any]]] = {
    "only http": ((OPENAI,), {"https_port": None}),
    "only https": ((OPENAI,), {"http_port": None}),
    "no upstream": ((), {}),
    "unix upstream": ((UNIX,), {}),
    "addresses": ((LOCAL, IPV6), {}),
    "several workers": ((OPENAI,), {"processor_sockets": ("/run/p0.sock", "/run/p1.sock", "/run/p2.sock")}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_committed_rendering_is_what_the_code_renders(name):
    assert (FOLDER / f"{name}.yaml").read_text() == rendering(name)


def test_every_committed_rendering_has_an_example():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_envoy_loads_the_committed_rendering(name, tmp_path):
    """Only the folder of the certificates is another one: Envoy reads them when it loads a bootstrap."""
    write_certificate(str(tmp_path))
    settings, layout = EXAMPLES[name]
    text = json.dumps(render(settings, layout)).replace(DATA_DIR, str(tmp_path))
    text = text.replace(layout.ca_bundle, f"{tmp_path}/certificate.pem")

    status, output = await validate(json.loads(text))

    assert status == 0, output
    assert "eprecated" not in output


@pytest.mark.parametrize("variant", VARIANTS)
async def test_envoy_loads_every_variant(variant, tmp_path):
    write_certificate(str(tmp_path))
    upstreams, changes = VARIANTS[variant]
    layout = layout_in(str(tmp_path), ca_bundle=f"{tmp_path}/certificate.pem", **changes)

    status, output = await validate(render(settings_for(*upstreams), layout))

    assert status == 0, output
    assert "eprecated" not in output


async def test_envoy_refuses_a_field_that_it_does_not_know(tmp_path):
    """The check above would be worth nothing if Envoy passed over what it does not know."""
    bootstrap = render(settings_for(), layout_in(str(tmp_path), https_port=None))
    bootstrap["static_resources"]["listeners"][0]["surprise"] = True

    status, output = await validate(bootstrap)

    assert status != 0
    assert "surprise" in output


def test_the_folder_of_renderings_never_hides_the_module_that_brings_envoy():
    module = importlib.import_module("envoy")

    assert module.__file__ is not None
    assert FOLDER not in Path(module.__file__).parents
    assert not list(FOLDER.rglob("*.py"))
