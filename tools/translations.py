"""Brings the catalogues up to date with the marked texts: `python -m tools.translations`.

With ``--check`` it changes nothing, and a text without its translations is an error.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from contatto.kit import errors
from contatto.kit.languages import CATALOGUES, LANGUAGES, SOURCE, catalogue_path

type Text = str | tuple[str, str]
PACKAGE = CATALOGUES.parent.parent
MARKS = {"_": (0,), "N_": (0,), "gettext": (0,), "ngettext": (0, 1), "plural": (0, 1)}
"""Calls that mark a text, and the places of the text, or of its two forms, among their arguments."""
READ = {
    "Refused": (1,),
    "check_found": (1,),
    "Problem": (1,),
    "UnreadableAnswer": (0,),
    "UnreadableRow": (0,),
    "LazyText": (0,),
    "Usual": (0,),
    "Setting": (1,),
    "SharedLimit": (3,),
}
"""These take a text that somebody reads, so they mark it too."""
API_ROOM = re.compile(r"/api(\.py$|/)")
# They change with every run and tell nothing that git does not tell.
NOISE = tuple(
    f'"{name}'.encode()
    for name in ("POT-Creation-Date", "PO-Revision-Date", "Last-Translator", "Language-Team", "Generated-By")
)
HEADER = """\
# The texts of Contatto in {name}. To add texts: mark them in the code, then run `make translations`.
#"""


def main(arguments: list[str]) -> int:
    texts = marked_texts()
    if arguments:
        return count_left(texts)
    for lang in LANGUAGES:
        if lang == SOURCE:
            continue
        catalogue = read_catalogue(lang)
        catalogue.update(texts, no_fuzzy_matching=True)
        catalogue_path(lang).write_bytes(written(catalogue, lang))
        print(f"{lang}: {len(catalogue)} texts, {len(untranslated(catalogue, texts))} not translated")
    return 0


def count_left(texts: Catalog) -> int:
    """Print what is left to do in each language, and return the exit status."""
    is_done = True
    for lang in LANGUAGES:
        catalogue = read_catalogue(lang)
        missing, stale = untranslated(catalogue, texts), gone(catalogue, texts)
        if lang != SOURCE and missing + stale:
            is_done = False
            print(f"{lang}: texts not translated: {len(missing)}, gone: {len(stale)}", file=sys.stderr)
            print(*(f"  {text}" for text in missing[:5]), sep="\n", file=sys.stderr)
    if not is_done:
        print("Run make translations, and fill in the catalogues.", file=sys.stderr)
    return int(not is_done)


def untranslated(catalogue: Catalog, texts: Catalog) -> list[str]:
    """List the marked texts that have no sure translation."""
    found = []
    for text in texts:
        kept = catalogue.get(text.id)
        if text.id and (kept is None or kept.fuzzy or not is_translated(kept.string)):
            found.append(text.id if isinstance(text.id, str) else text.id[0])
    return found


def gone(catalogue: Catalog, texts: Catalog) -> list[str]:
    """List the texts of a catalogue that nothing shows any more."""
    there = {text.id for text in texts}
    return [text.id if isinstance(text.id, str) else text.id[0] for text in catalogue if text.id not in there]


def marked_texts(package: Path = PACKAGE) -> Catalog:
    """Every marked text of the code and the templates, and what each refusal says, with the files of each."""
    catalog = Catalog(project="Contatto", charset="utf-8")
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.html")]):
        place = path.relative_to(package).as_posix()
        for line, text, comments in _of_code(path) if path.suffix == ".py" else _of_template(path):
            catalog.add(text, locations=[(place, line)], auto_comments=comments)
    for code in errors.ALL:
        for text in (code.says, code.remedy):
            catalog.add(text, locations=[("kit/errors.py", 0)])
    return catalog


def _of_template(path: Path) -> Iterator[tuple[int, Text, list[str]]]:
    with path.open("rb") as file:
        for line, name, texts, comments in babel_extract(
            file, list(MARKS), ["translators:"], {"silent": "false"}
        ):
            forms = texts if isinstance(texts, tuple) else (texts,)
            wanted = [form for form in (forms[place] for place in MARKS[name]) if isinstance(form, str)]
            if len(wanted) == len(MARKS[name]):
                yield line, (wanted[0], wanted[1]) if len(wanted) == 2 else wanted[0], comments


def _of_code(path: Path) -> Iterator[tuple[int, Text, list[str]]]:
    marks = MARKS if API_ROOM.search(path.as_posix()) else MARKS | READ  # the API speaks English
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            texts = [_constant(node.args[place]) for place in marks.get(name, ()) if place < len(node.args)]
            if texts and all(texts):
                yield node.lineno, (texts[0], texts[1]) if len(texts) == 2 else texts[0], []


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def read_catalogue(lang: str) -> Catalog:
    """Read the catalogue as it stands, or an empty one for a new language."""
    path, name = catalogue_path(lang), lang.replace("-", "_")
    if not path.exists():
        return Catalog(name, project="Contatto", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=name)


def written(catalogue: Catalog, lang: str) -> bytes:
    """Return the catalogue as text, sorted and without places, so that branches merge without a conflict."""
    catalogue.header_comment = HEADER.format(name=LANGUAGES[lang])
    catalogue.fuzzy = False
    page = BytesIO()
    write_po(page, catalogue, width=110, sort_output=True, ignore_obsolete=True, no_location=True)
    lines = page.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(NOISE))


def is_translated(string: str | Sequence[str] | None) -> bool:
    return string is not None and bool(string) and (isinstance(string, str) or all(string))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
