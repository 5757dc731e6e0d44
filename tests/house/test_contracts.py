"""The import contracts of pyproject.toml bite: each is broken once in a copy, and each says so."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import PACKAGE, ROOT, plant

BREAKS = {
    "Layers": ("kit/db/tx.py", "import contatto.leads.model"),
    "Modules": ("capture/store.py", "import contatto.capture.actions"),
    "Pure": ("leads/model.py", "import random"),
    "Edges": ("capture/actions.py", "import contatto.capture.pages"),
    "Decoders": ("kit/untrusted_files.py", "import PIL"),
    "No circles": ("kit/planted.py", "import contatto.kit.planted_too"),
}


def verdicts(root: Path) -> dict[str, str]:
    """What the linter says of each contract: KEPT or BROKEN."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Missing layer" in done.stdout:
        pytest.skip(f"not every layer is there yet: {done.stdout.strip().splitlines()[-1]}")
    return dict(re.findall(r"^(.+?)(?::.*)? (KEPT|BROKEN)$", done.stdout, re.MULTILINE))


def test_each_contract_bites(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("static", "__pycache__"))
    plant(tmp_path, f"{PACKAGE}/kit/planted.py", "")
    plant(tmp_path, f"{PACKAGE}/kit/planted_too.py", "import contatto.kit.planted\n")
    before = verdicts(tmp_path)
    assert before == dict.fromkeys(BREAKS, "KEPT")
    for path, line in BREAKS.values():
        with (tmp_path / PACKAGE / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    assert verdicts(tmp_path) == dict.fromkeys(BREAKS, "BROKEN")


def test_the_architecture_page_lists_the_packages_of_each_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"].startswith("Layers"))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [
        (int(layer), package) for layer, package in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)
    ]
    expected = [
        (len(layers) - place, package)
        for place, layer in enumerate(layers)
        for package in re.findall(r"\w+", layer)
    ]
    assert sorted(rows) == sorted(expected)
    assert [layer for layer, _ in rows] == sorted((layer for layer, _ in rows), reverse=True)
