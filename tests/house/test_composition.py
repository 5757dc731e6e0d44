"""Nothing registers itself at import: no table is filled and nothing that counts is made meanwhile."""

import ast
from pathlib import Path

from tests.house.tree import ROOT, files, parse, plant, short

FILLS = {"update", "append", "add", "setdefault", "register", "extend", "insert"}
COUNTS = {"RateLimit", "GuessLimit", "RequestLimit", "HashPool", "Places", "Turns", "ThreadPoolExecutor"}
"""What keeps a state: it belongs to one app or one worker, so that two in a process share nothing."""


def filled_at_import(root: Path) -> list[str]:
    """Statements of modules that fill a table, or make something that counts."""
    return [
        f"{short(root, path)}:{node.lineno}"
        for path in files(root, ".py", under=("src",))
        for node in parse(path).body
        if _fills(node) or _counts(node)
    ]


def _fills(node: ast.stmt) -> bool:
    """``TABLE.update(…)`` or ``TABLE[…] = …``, as a statement of its own."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        return isinstance(called, ast.Attribute) and called.attr in FILLS and _is_constant(called.value)
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Subscript) and _is_constant(target.value) for target in node.targets
    )


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.isupper()


def _counts(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    return (called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")) in COUNTS


def test_no_module_fills_a_table_or_makes_what_counts() -> None:
    assert filled_at_import(ROOT) == []


def test_tables_that_are_filled_at_import_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/a.py", "FORGET = {}\nFORGET['x'] = 1\nFORGET.update({})\n")
    plant(
        tmp_path, "src/contatto/leads/b.py", "from x import y\n_LIMIT: Final = RateLimit(most=1, span_s=2)\n"
    )
    plant(tmp_path, "src/contatto/leads/c.py", "NAMES = {}\nlog.update(1)\ndef f():\n    NAMES['x'] = 1\n")
    assert [line.rpartition("/")[2] for line in filled_at_import(tmp_path)] == ["a.py:2", "a.py:3", "b.py:2"]
