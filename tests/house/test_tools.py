"""The bootstrap needs nothing but an old Python, and make explains each of its few targets."""

import ast
import re
import subprocess
import sys
import tomllib

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


def test_make_run_and_pip_bring_nothing_that_only_tests_need() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"]}
    runtime: set[str] = set()
    names = ["contatto"]
    while names:
        name = names.pop()
        if name not in runtime:
            runtime.add(name)
            names += [needed["name"] for needed in packages[name].get("dependencies", ())]
    groups = packages["contatto"]["dev-dependencies"]
    clients, of_tests = ({package["name"] for package in groups[name]} for name in ("vendors", "test"))
    assert {"facebook-business", "trytond"} <= clients
    assert clients.isdisjoint(of_tests)
    assert runtime.isdisjoint(of_tests | clients)


def test_make_run_needs_the_runtime_alone_and_make_test_the_tests_too() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^run: \$\(RUNTIME\)", makefile, re.MULTILINE)
    assert re.search(r"^test: \$\(STAMP\)", makefile, re.MULTILINE)
    assert re.search(r"^\$\(RUNTIME\):.*\n.*tools\.bootstrap --runtime$", makefile, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["uv"]["default-groups"] == ["dev", "test", "vendors"]
