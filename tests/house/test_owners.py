"""Only the capability that owns a table writes to it; the others call its actions."""

import ast
from pathlib import Path

from tests.house.tree import ROOT, WRITES, capability, files, parse, plant, short


def foreign_writes(root: Path) -> list[str]:
    found = []
    for path in files(root, ".py", under=("src",)):
        here, module = capability(root, path), parse(path)
        stores, writes = foreign_stores(module, here)
        used = {
            node.attr
            for node in ast.walk(module)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith(WRITES)
            and names(node.value) in stores
        }
        found += [f"{short(root, path)} uses {name} of another's store" for name in sorted(used | writes)]
    return found


def foreign_stores(module: ast.Module, here: str) -> tuple[set[str], set[str]]:
    """The names by which a module knows other capabilities' stores, and the writes that it imports."""
    stores, writes = set(), set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            stores |= {entry.asname or entry.name for entry in node.names if is_foreign(entry.name, here)}
        if isinstance(node, ast.ImportFrom) and node.module:
            for entry in node.names:
                if is_foreign(f"{node.module}.{entry.name}", here):
                    stores.add(entry.asname or entry.name)
                if is_foreign(node.module, here) and entry.name.startswith(WRITES):
                    writes.add(entry.name)
    return stores, writes


def is_foreign(module: str, here: str) -> bool:
    parts = module.split(".")
    return len(parts) > 2 and parts[0] == "contatto" and parts[1] != here and parts[2] in ("store", "engines")


def names(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def test_only_the_owner_writes_to_a_store() -> None:
    assert foreign_writes(ROOT) == []


def test_a_write_to_another_store_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/actions.py", "from contatto.leads import store\nstore.save_lead()\n")
    plant(
        tmp_path,
        "src/contatto/inbox/actions.py",
        "from contatto.leads import store as leads\nleads.save_lead()\n",
    )
    plant(
        tmp_path, "src/contatto/ads/actions.py", "from contatto.leads.store import delete_lead, find_lead\n"
    )
    plant(tmp_path, "src/contatto/app.py", "import contatto.leads.store\ncontatto.leads.store.mark_seen()\n")
    plant(
        tmp_path, "src/contatto/reports/actions.py", "from contatto.leads import store\nstore.find_lead()\n"
    )
    assert [line.split(" ")[2] for line in foreign_writes(tmp_path)] == [
        "delete_lead",
        "mark_seen",
        "save_lead",
    ]
