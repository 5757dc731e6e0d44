"""The shipped documents, read once and kept in memory."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from contatto.guide.model import HelpPage
from contatto.guide.rules import TOP

FOLDERS: Final = ("", "how-to", "reference", "decisions")
"""What is shipped of the documents; pictures are not."""

_PICTURES: Final = {"screens.md"}


@cache
def load_pages() -> Mapping[str, HelpPage]:
    """Every document by its place: from the wheel, or from the checkout that this runs in."""
    found: dict[str, HelpPage] = {}
    for folder in FOLDERS:
        for path in sorted((_home() / folder).glob("*.md")):
            text = path.read_text(encoding="utf-8")
            if path.name in _PICTURES:
                continue
            place = f"{folder or TOP}/{path.stem}"
            found[place] = HelpPage(place, _title(text, path.stem), text)
    return found


def _home() -> Path:
    package = Path(str(files("contatto")))
    shipped = package / "guide" / "documents"
    return shipped if shipped.is_dir() else package.parents[1] / "docs"


def _title(text: str, name: str) -> str:
    first = text.partition("\n")[0]
    return first.removeprefix("# ").strip() if first.startswith("# ") else name
