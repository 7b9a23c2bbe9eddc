"""The documentation is complete, and comes from nowhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.fixture
async def nobody(gateway):
    async with gateway.caller(None) as client:
        yield client


def examples(described: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    """Those of the operation's body."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = (schema.get("$ref") or schema["anyOf"][0]["$ref"]).rpartition("/")[2]
    found: list[Any] = described["components"]["schemas"][name].get("examples", [])
    return found


async def test_every_operation_says_what_it_does_and_what_can_go_wrong(nobody):
    described = (await nobody.get("/openapi.json")).json()

    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert operation["tags"], (path, method)
            if "security" in operation:
                assert operation["responses"].keys() >= {"200", "400", "401", "403", "404", "422", "503"}
            if "requestBody" in operation:
                assert examples(described, operation), (path, method)
    assert described["components"]["securitySchemes"]["API key"]["scheme"] == "bearer"
    assert described["components"]["schemas"]["GenerateKey"]["examples"][0]["key_alias"] == "frontend-app"


async def test_the_page_and_its_files_are_served_under_a_strict_policy(nobody):
    page = await nobody.get("/docs")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|https?://", page.text)
    for name in re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text):
        file = await nobody.get(name)
        assert (file.status_code, file.headers["x-content-type-options"]) == (200, "nosniff")


async def test_the_page_loads_the_documentation_from_here(nobody):
    assert 'url: "/openapi.json"' in (await nobody.get("/docs/assets/start.js")).text


@pytest.mark.parametrize("name", ["README.md", "docs.html.bak", "..%2f..%2fapp.py", "../app.py", "%2e%2e/app.py"])
async def test_no_other_file_is_served(nobody, name):
    assert (await nobody.get(f"/docs/assets/{name}")).status_code == 404


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/"])
async def test_no_other_page_is_served(nobody, path):
    assert (await nobody.get(path)).status_code == 404
