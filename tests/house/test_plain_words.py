"""Replaced names do not come back: the tree is compared with the table of replaced names."""

import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

from tests.house.tree import ROOT, files, plant, short

REPLACED = ROOT / "tests" / "house" / "replaced_names.md"
ROW = re.compile(r"^\| (name|module) \| `([^`]+)` \| `([^`]+)` \| (?:`([^`]+)`)? ?\|$", re.MULTILINE)


class Word(NamedTuple):
    """A row of the table: the old word, and the folder or file that it may not stand in; empty for all."""

    kind: str
    old: str
    new: str
    place: str


def words(text: str) -> list[Word]:
    return [Word(*match.groups(default="")) for match in ROW.finditer(text)]


def names_in(path: Path) -> set[str]:
    readline = io.StringIO(path.read_text(encoding="utf-8")).readline
    return {token.string for token in tokenize.generate_tokens(readline) if token.type == tokenize.NAME}


def old_names(root: Path, table: list[Word]) -> list[str]:
    """Identifiers of the table that a Python file still uses."""
    unwanted = [word for word in table if word.kind == "name"]
    left = []
    for path in files(root, ".py", under=("src", "tests", "tools", "bench")):
        place = short(root, path)
        used = names_in(path)
        left += [
            f"{place}: {word.old} is {word.new} now"
            for word in unwanted
            if word.old in used and place.startswith(word.place)
        ]
    return left


def old_modules(root: Path, table: list[Word]) -> list[str]:
    package = root / "src" / "contatto"
    return [
        f"{word.old} is {word.new} now"
        for word in table
        if word.kind == "module"
        and (any((package / word.old).rglob("*.py")) or (package / f"{word.old}.py").exists())
    ]


def test_the_table_has_rows_of_both_kinds() -> None:
    assert {word.kind for word in words(REPLACED.read_text(encoding="utf-8"))} == {"name", "module"}


def test_no_replaced_name_is_used() -> None:
    assert old_names(ROOT, words(REPLACED.read_text(encoding="utf-8"))) == []


def test_no_replaced_module_is_there() -> None:
    assert old_modules(ROOT, words(REPLACED.read_text(encoding="utf-8"))) == []


def test_old_words_are_found(tmp_path: Path) -> None:
    table = words(
        "| name | `Errand` | `OutboundRequest` |  |\n"
        "| name | `Step` | `HistoryEntry` | `src/contatto/leads` |\n"
        "| module | `kit/errands` | `kit/outbound` |  |\n"
    )
    plant(tmp_path, "src/contatto/kit/errands.py", "class Errand: ...\n")
    plant(tmp_path, "src/contatto/leads/model.py", "class Step: ...\n")
    plant(tmp_path, "src/contatto/reports/model.py", "class Step: ...  # Errand in a comment\n")
    assert [line.partition(":")[0] for line in old_names(tmp_path, table)] == [
        "src/contatto/kit/errands.py",
        "src/contatto/leads/model.py",
    ]
    assert old_modules(tmp_path, table) == ["kit/errands is kit/outbound now"]
