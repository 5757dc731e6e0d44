"""What capabilities take from each other: nouns, rules, verbs and reads, and nothing of their edges."""

import ast
from pathlib import Path

from tests.house.tree import ROOT, capability, files, parse, plant, short

LENT = {"model", "fields", "metrics", "rules", "connectors", "registry", "auth", "index", "limits",
        "ports", "actions", "store", "engines"}  # fmt: skip
"""The rooms that others may import from; what writes in `store` and `engines` is kept back by test_owners."""


def capabilities(root: Path) -> set[str]:
    """Folders with a model; the others, audit and learning are ground for all."""
    package = root / "src" / "contatto"
    return {path.parent.name for path in (*package.glob("*/model.py"), *package.glob("*/model"))} - {
        "audit",
        "learning",
    }


def bad_loans(root: Path) -> list[str]:
    """Imports by a capability of what another one does not lend."""
    known = capabilities(root)
    return [
        f"{short(root, path)} imports {'.'.join(taken)}"
        for path in files(root, ".py", under=("src",))
        if (here := capability(root, path)) in known
        for taken in _taken(parse(path))
        if taken[0] in known - {here} and taken[1] not in LENT
    ]


def _taken(module: ast.Module) -> list[list[str]]:
    """Capability and room of each import."""
    return [
        [*node.module.split("."), entry.name][1:3]
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.startswith("contatto.")
        for entry in node.names
    ]


def test_capabilities_take_from_each_other_what_is_lent() -> None:
    assert bad_loans(ROOT) == []


def test_an_import_of_an_edge_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/model.py", "")
    plant(tmp_path, "src/contatto/inbox/model.py", "from contatto.kit import ids\n")
    plant(tmp_path, "src/contatto/inbox/rules.py", "from contatto.leads.pages.list import show\n")
    plant(
        tmp_path, "src/contatto/inbox/store.py", "from contatto.leads import store\nimport contatto.leads\n"
    )
    plant(tmp_path, "src/contatto/app.py", "from contatto.leads.pages import show\n")
    assert bad_loans(tmp_path) == ["src/contatto/inbox/rules.py imports leads.pages"]
