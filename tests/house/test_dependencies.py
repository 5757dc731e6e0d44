"""Every dependency that is shipped has its reason in a decision record."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.tree import ROOT, files, parse, plant, short

RECORD = ROOT / "docs" / "decisions" / "0013-dependencies.md"
# These come with others that the project names, but have a row of their own there.
COMES_ALONG = {"starlette", "pydantic", "htmx"}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^a-zA-Z0-9_.-]", each)[0] for each in project["dependencies"]}
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", RECORD.read_text(), re.MULTILINE)
    named = {re.sub(r" \(.*\)", "", name).strip() for row in rows[2:] for name in row.split(",")}
    assert needed - named == set(), "these have no reason"
    assert named - needed - COMES_ALONG == set(), "these are not used any more"


TOOLS_ALONE = re.compile(r"/engines/definition\.py$")
"""Definitions of SQL that a tool emits: no process of ours loads them."""


def imports_of_tests_alone(root: Path) -> list[str]:
    """Modules of the package that import what `make run` and pip do not install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    left_out = {
        re.split(r"[^a-zA-Z0-9_.-]", requirement)[0].lower()
        for group in project["dependency-groups"].values()
        for requirement in group
        if isinstance(requirement, str)
    }
    distributions = packages_distributions()
    return [
        f"{short(root, path)} imports {name}"
        for path in files(root, ".py", under=("src",))
        if not TOOLS_ALONE.search(str(path))
        for name in sorted(_imported(path))
        if {each.lower() for each in distributions.get(name, ())} & left_out
    ]


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(parse(path)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in (*plain, *named)}


def test_the_package_imports_nothing_that_only_tests_and_tools_install() -> None:
    assert imports_of_tests_alone(ROOT) == []


def test_an_import_that_only_tests_install_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/planted.py", "import json\nfrom hypothesis import given\n")
    assert imports_of_tests_alone(tmp_path) == ["src/contatto/leads/planted.py imports hypothesis"]
