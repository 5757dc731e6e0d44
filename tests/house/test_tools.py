"""The bootstrap needs nothing but an old Python, and make explains each of its few targets."""

import ast
import re
import subprocess
import sys

import pytest

from tests.house.tree import ROOT

BEFORE_SETUP = ("bootstrap", "private_uv", "browser")


@pytest.mark.parametrize("name", BEFORE_SETUP)
def test_what_runs_before_setup_needs_only_python_3_9(name: str) -> None:
    text = (ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8")
    module = ast.parse(text, feature_version=(3, 9))
    imported = {
        entry.name for node in ast.walk(module) if isinstance(node, ast.Import) for entry in node.names
    }
    imported |= {node.module or "" for node in ast.walk(module) if isinstance(node, ast.ImportFrom)}
    assert {each.split(".")[0] for each in imported} - {"tools"} <= sys.stdlib_module_names


def test_make_explains_its_few_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help"}
    assert targets == set(re.findall(r"^([a-z-]+):.*## \w", makefile, re.MULTILINE))
    assert len(targets) <= 20
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in printed for target in targets)


def test_every_tool_that_make_calls_is_there() -> None:
    called = set(re.findall(r"-m tools\.(\w+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert called
    assert {name for name in called if not (ROOT / "tools" / f"{name}.py").exists()} == set()
