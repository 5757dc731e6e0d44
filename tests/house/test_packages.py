"""Each folder says in one sentence what it is, and no file has a name that says nothing."""

import ast
from pathlib import Path

from tests.house.tree import PACKAGE, ROOT, files, parse, plant, short

SAYS_NOTHING = {"utils", "helpers", "common", "misc", "base", "manager", "service"}
SAYS_NOTHING |= {"util", "helper", "managers", "services", "shared", "stuff"}


def is_one_sentence(module: ast.Module) -> bool:
    says = ast.get_docstring(module) or ""
    return len(module.body) == 1 and says.endswith(".") and "\n\n" not in says and ". " not in says


def bad_packages(root: Path) -> list[str]:
    """Each __init__ that is not one sentence; the library's face, contatto/__init__, may hold more."""
    face = root / PACKAGE / "__init__.py"
    return [
        short(root, path)
        for path in files(root, ".py", under=("src",))
        if path.name == "__init__.py" and path != face and not is_one_sentence(parse(path))
    ]


def bad_names(root: Path) -> list[str]:
    """Python modules and folders with a name that says nothing; templates and styles may have a base."""
    found = files(root, ".py")
    named = {path.with_suffix("") for path in found} | {path.parent for path in found}
    return sorted(short(root, path) for path in named if path.name in SAYS_NOTHING)


def test_every_package_is_one_sentence() -> None:
    assert bad_packages(ROOT) == []


def test_no_file_name_says_nothing() -> None:
    assert bad_names(ROOT) == []


def test_code_in_a_package_file_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/__init__.py", '"""The face."""\nVERSION = 1\n')
    plant(tmp_path, "src/contatto/leads/__init__.py", '"""Leads."""\nVERSION = 1\n')
    plant(tmp_path, "src/contatto/ads/__init__.py", "")
    plant(tmp_path, "src/contatto/inbox/__init__.py", '"""Conversations with customers."""\n')
    assert bad_packages(tmp_path) == ["src/contatto/ads/__init__.py", "src/contatto/leads/__init__.py"]


def test_a_name_that_says_nothing_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/utils.py", "")
    plant(tmp_path, "src/contatto/common/text.py", "")
    assert bad_names(tmp_path) == ["src/contatto/common", "src/contatto/leads/utils"]
