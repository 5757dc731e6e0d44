"""Brings the catalogues up to date with the marked texts: `python -m tools.words`."""

import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from contatto.kit import errors
from contatto.kit.languages import CATALOGUES, LANGUAGES, SOURCE, catalogue_path

PACKAGE = CATALOGUES.parent.parent
MARKS: dict[str, Any] = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2), "plural": (1, 2)}
# These take a text that somebody reads, so they mark it; each with the place of the text among its values.
READ: dict[str, Any] = {"Refused": (2,), "Problem": (2,), "Unfit": (1,), "Usual": (1,)}
API_ROOM = re.compile(r"/api(\.py$|/)")
METHODS = {".py": "python", ".html": "jinja2.ext:babel_extract"}
OPTIONS = {"encoding": "utf-8", "silent": "false"}
# They change with every run and tell nothing that git does not tell.
NOISE = tuple(
    f'"{name}'.encode()
    for name in ("POT-Creation-Date", "PO-Revision-Date", "Last-Translator", "Language-Team", "Generated-By")
)
HEADER = """\
# The texts of Contatto in {name}. To add texts: mark them in the code, then run `make words`.
#"""


def main() -> int:
    texts = marked_texts()
    for lang in LANGUAGES:
        if lang == SOURCE:
            continue
        catalogue = read_catalogue(lang)
        catalogue.update(texts, no_fuzzy_matching=True)
        catalogue_path(lang).write_bytes(written(catalogue, lang))
        left = sum(1 for message in catalogue if message.id and not is_translated(message.string))
        print(f"{lang}: {len(catalogue)} texts, {left} not translated")
    return 0


def marked_texts(package: Path = PACKAGE) -> Catalog:
    """Every marked text of the code and the templates, and what each refusal says, with the files of each."""
    found = Catalog(project="Contatto", charset="utf-8")
    for path in sorted(package.rglob("*")):
        if path.suffix not in METHODS or "migrations" in path.parts:
            continue
        place = path.relative_to(package).as_posix()
        for line, text, comments, _context in _texts_of(path):
            found.add(text, locations=[(place, line)], auto_comments=comments)
    for code in errors.ALL:
        for text in (code.says, code.remedy):
            found.add(text, locations=[("kit/errors.py", 0)])
    return found


def _texts_of(path: Path) -> Iterator[tuple[int, Any, list[str], Any]]:
    keywords = MARKS if API_ROOM.search(path.as_posix()) else MARKS | READ  # the API speaks English
    tags = ("translators:",)
    yield from extract_from_file(
        METHODS[path.suffix], path, keywords=keywords, options=OPTIONS, comment_tags=tags
    )


def read_catalogue(lang: str) -> Catalog:
    """The catalogue as it stands, or an empty one for a new language."""
    path, name = catalogue_path(lang), lang.replace("-", "_")
    if not path.exists():
        return Catalog(name, project="Contatto", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=name)


def written(catalogue: Catalog, lang: str) -> bytes:
    """The catalogue as text: sorted by file, without line numbers, so that a diff shows texts only."""
    catalogue.header_comment = HEADER.format(name=LANGUAGES[lang])
    catalogue.fuzzy = False
    page = BytesIO()
    write_po(page, catalogue, width=110, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    lines = page.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(NOISE))


def is_translated(string: str | tuple[str, ...]) -> bool:
    return all(string) if isinstance(string, tuple) else bool(string)


if __name__ == "__main__":
    sys.exit(main())
