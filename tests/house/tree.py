"""The source tree as the house tests see it; each test can look at a planted tree instead."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "src/contatto"
READS = ("find_", "list_", "load_", "has_", "is_", "count_")
WRITES = ("save_", "append_", "record_", "mark_", "delete_")


def files(
    root: Path, *suffixes: str, under: tuple[str, ...] = ("src", "tests", "bench", "tools")
) -> list[Path]:
    """Our own files of these kinds; what others made lies in folders named `vendor`."""
    found = [
        path
        for folder in under
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in suffixes and not {"vendor", "__pycache__"} & set(path.parts)
    ]
    assert found or root != ROOT, f"no {suffixes} under {under}: this test would prove nothing"
    return found


def rooms(root: Path, name: str) -> list[Path]:
    """Each capability's room of this name, as a file or as the files of a folder."""
    package = root / PACKAGE
    return sorted([*package.glob(f"*/{name}.py"), *package.glob(f"*/{name}/*.py")])


def storage(root: Path) -> list[Path]:
    """Everything that reads or writes: SQL in `store`, files and other systems in `engines`."""
    return [*rooms(root, "store"), *rooms(root, "engines")]


def capability(root: Path, path: Path) -> str:
    """`leads` for src/contatto/leads/store.py, and `app` for src/contatto/app.py."""
    return path.relative_to(root / PACKAGE).parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def public_functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    each = function.args
    return {argument.arg for argument in (*each.posonlyargs, *each.args, *each.kwonlyargs)}


def short(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def plant(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
