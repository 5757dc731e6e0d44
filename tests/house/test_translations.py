"""Every text that a person reads is marked for translation, and no translation says something else."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from jinja2 import Environment, nodes

from contatto.kit.languages import LANGUAGES, SOURCE
from tests.house.text_origins import TextOrigins
from tests.house.tree import ROOT, files, plant, short
from tools.translations import API_ROOM, READ, count_left, gone, marked_texts, read_catalogue, untranslated

FOR_PROGRAMS = (
    "contatto/app.py",
    "audiences/actions.py",
    "cli/installation.py",
    "cli/access.py",
    "kit/api_types.py",
    "crm/actions/checks.py",
    "leads/actions/files.py",
    "subscriptions/actions.py",
    "reports/actions/reports.py",
    "reports/rules/figures.py",
    "reports/rules/figures.py",
)
"""Rooms outside of the API whose refusals only programs get: they are English."""
OF_THE_BUSINESS = ("src/contatto/forms/rules/answers.py:", "content.words")
"""The one text that a business writes itself: what its form says of a wrong answer."""
PLACEHOLDER = re.compile(r"%\(\w+\)s")
FIELD = re.compile(r"(?:[a-z_.]+|%\(\w+\)s): ")

COUNT = re.compile(r"%\((?:ads|campaigns|count|days|groups|leads|n|num|rows|total)\)s (?:[a-z-]+ )?[a-z]+s\b")
LIMIT = re.compile(r"(?:at most|at least|1 to|up to|a number of|the last) %\(\w+\)s")
"""Limits are numbers that are never 1."""
ALWAYS_MANY = frozenset({
    "This row matches %(count)s leads. Merge them first, or remove the shared detail.",
})  # fmt: skip
"""Texts that are shown for two or more alone."""

MARKS = {"_", "gettext", "ngettext"}
READ_ATTRIBUTES = {"title", "aria-label", "placeholder", "alt", "data-confirm", "label"}
UNREAD_ELEMENTS = {"script", "style", "code", "kbd"}
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
WORD = re.compile(r"[^\W\d_]{2}")
SENTENCE = re.compile(r"[A-Z][a-z]|[A-Za-z]+ [a-z]")
# Classes, ids and attributes that a macro hands out, and names that are the same in every language.
UNREAD = re.compile(
    r"[\w-]+=\"[^\"]*\"|\S*(?:--|_)\S*|(?<!\w)-\w+|data-\w+|https?://\S*"
    r"|\b(?:Contatto|TikTok|WhatsApp|Messenger|Instagram|CSV|XLSX|JSON|API|GET|POST|SHA|UTF)\b"
)


class _Texts(HTMLParser):
    """Collects what a person reads of a template from which the expressions are taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        self.found += [value for name, value in attrs if name in READ_ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not UNREAD_ELEMENTS & set(self._inside):
            self.found.append(data)


def bare_texts(root: Path) -> list[str]:
    """Texts between tags and in attributes that stand in a template without a mark."""
    found = []
    for path in files(root, ".html", under=("src",)):
        reader = _Texts()
        reader.feed(EXPRESSION.sub("", path.read_text(encoding="utf-8")))
        texts = [UNREAD.sub("", text).strip() for text in reader.found]
        found += [f"{short(root, path)}: {text}" for text in texts if WORD.search(text)]
    return found


def bare_strings(root: Path) -> list[str]:
    """Sentences in the expressions of a template that stand outside of a mark."""
    found = []
    for path in files(root, ".html", under=("src",)):
        tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(path.read_text("utf-8"))
        texts = [text for text in _strings(tree) if SENTENCE.match(UNREAD.sub("", text).strip())]
        found += [f"{short(root, path)}: {text}" for text in texts]
    return found


def built_refusals(root: Path) -> list[str]:
    """Refusals whose text is put together before it is translated: nobody can find it in a catalogue."""
    found = []
    for path in files(root, ".py", under=("src",)):
        place = short(root, path)
        if API_ROOM.search(place) or place.endswith(FOR_PROGRAMS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
                given = [node.args[at] for at in READ.get(name, ()) if at < len(node.args)]
                if any(isinstance(text, ast.JoinedStr | ast.BinOp) for text in given):
                    found.append(f"{place}:{node.lineno}")
    return found


def _strings(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in MARKS:
        for keyword in node.kwargs:
            yield from _strings(keyword)
        return
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    # the key of a dictionary and what a value is compared to are not shown
    hidden = {nodes.Pair: ["key"], nodes.Compare: ["ops"], nodes.Getitem: ["arg"]}.get(type(node))
    for child in node.iter_child_nodes(exclude=hidden):
        yield from _strings(child)


def faulty_translations(catalogue: Catalog, texts: Catalog) -> list[str]:
    """Translations that lost or gained a placeholder or the field that a text begins with."""
    found = []
    for text in texts:
        kept = catalogue.get(text.id)
        forms = _forms(kept.string) if kept else ()
        asked = _forms(text.id)
        if not text.id or not forms or not all(forms) or (kept and kept.fuzzy):
            continue
        if any(not _fits(form, asked) for form in forms):
            found.append(f"other placeholders: {asked[0]}")
        elif FIELD.match(asked[0]) and not forms[0].startswith(FIELD.match(asked[0]).group()):  # type: ignore[union-attr]
            found.append(f"other field: {asked[0]}")
    return found


def bare_counts(texts: Catalog) -> list[str]:
    """Texts with a number beside a noun in the plural, and without forms for one, two or many."""
    return sorted(
        text.id
        for text in texts
        if isinstance(text.id, str) and COUNT.search(LIMIT.sub("", text.id)) and text.id not in ALWAYS_MANY
    )


def _forms(string: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (string,) if isinstance(string, str) else tuple(string)


def _fits(form: str, asked: tuple[str, ...]) -> bool:
    """Only a form of a plural may leave its number out: "one lead"."""
    wanted, has = set(PLACEHOLDER.findall(asked[-1])), set(PLACEHOLDER.findall(form))
    return has == wanted or (len(asked) > 1 and wanted - has == {"%(num)s"} and has <= wanted)


@pytest.fixture(scope="module")
def texts() -> Catalog:
    return marked_texts()


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang != SOURCE])
def test_every_translation_fits_its_text(texts: Catalog, lang: str) -> None:
    assert faulty_translations(read_catalogue(lang), texts) == []


def test_a_text_without_translations_fails_the_check(
    texts: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    assert count_left(texts) == 0
    new = Catalog()
    new.add("A text that nobody has translated")
    assert count_left(new) == 1
    printed = capsys.readouterr().err
    assert printed.count("not translated: 1,") == len(LANGUAGES) - 1
    assert "  A text that nobody has translated\n" in printed
    assert "en:" not in printed


def test_faulty_translations_are_found() -> None:
    texts, catalogue = _planted()
    assert faulty_translations(catalogue, texts) == [
        "other placeholders: To %(name)s",
        "other field: text: write it",
    ]


def test_missing_and_unsure_translations_are_found_and_texts_that_are_gone() -> None:
    texts, catalogue = _planted()
    catalogue.add("Gone", "Andato")
    assert untranslated(catalogue, texts) == ["Save", "Open"]
    assert gone(catalogue, texts) == ["Gone"]


def _planted() -> tuple[Catalog, Catalog]:
    texts, catalogue = Catalog("it"), Catalog("it")
    for text in ("Save", "Open", "To %(name)s", "text: write it", ("%(num)s lead", "%(num)s leads")):
        texts.add(text)
    catalogue.add("Save", "Salva", flags=["fuzzy"])
    catalogue.add("To %(name)s", "A %(nome)s")
    catalogue.add("text: write it", "testo: scrivilo")
    catalogue.add(("%(num)s lead", "%(num)s leads"), ("un lead", "%(num)s lead"))
    return texts, catalogue


def test_every_text_of_a_template_is_marked() -> None:
    assert bare_texts(ROOT) == []


def test_every_sentence_in_an_expression_is_marked() -> None:
    assert bare_strings(ROOT) == []


def test_no_refusal_that_a_person_reads_builds_its_text() -> None:
    assert built_refusals(ROOT) == []


def test_every_text_that_is_marked_can_be_traced_to_a_literal_in_a_marking_call() -> None:
    place, text = OF_THE_BUSINESS
    unmarked = TextOrigins(ROOT).unmarked(FOR_PROGRAMS)
    assert [fault for fault in unmarked if not (fault.startswith(place) and text in fault)] == []


def test_texts_that_no_catalogue_can_hold_are_found(tmp_path: Path) -> None:
    """By a variable, by a table, from a caller, from another module, and put together."""
    rules = "src/contatto/leads/rules"
    plant(tmp_path, f"{rules}/_names.py", "SAYS = {'a': 'Bare text', 'b': N_('Marked text')}")
    plant(
        tmp_path,
        f"{rules}/_work.py",
        """from contatto.leads.rules._names import SAYS
def refuse(says):
    raise Refused(NO, says)
def name(field):
    text = "It is wrong."
    refuse(N_("Fine"))
    refuse("From a caller")
    words.gettext(SAYS[field])
    words.gettext(field.capitalize())
    return Refused(NO, text)
""",
    )
    assert [fault.partition("rules/")[2] for fault in TextOrigins(tmp_path).unmarked(())] == [
        "_work.py:10: It is wrong.",
        "_work.py:3: From a caller",
        "_work.py:8: Bare text",
        "_work.py:9: cannot be traced: field.capitalize()",
    ]


def test_every_count_beside_a_noun_has_plural_forms(texts: Catalog) -> None:
    assert bare_counts(texts) == []


def test_counts_without_plural_forms_are_found() -> None:
    texts = Catalog()
    for text in (
        "%(n)s leads",
        ("%(num)s lead", "%(num)s leads"),
        "Write at most %(num)s characters.",
        "%(n)s min",
    ):
        texts.add(text)
    assert bare_counts(texts) == ["%(n)s leads"]


def test_built_refusals_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/rules/work.py", "Refused(NO, 'It is %(x)s', x=1)")
    plant(tmp_path, "src/contatto/leads/rules/_built.py", "Refused(NO, f'Is {x}')\nUnreadableRow('It ' + x)")
    plant(tmp_path, "src/contatto/leads/api.py", "Refused(NO, f'It is {x}')")
    found = [line.rpartition("/")[2] for line in built_refusals(tmp_path)]
    assert found == ["_built.py:1", "_built.py:2"]


def test_unmarked_texts_are_found(tmp_path: Path) -> None:
    folder = "src/contatto/leads/templates/leads"
    marked = "{{ _('Save it') }} <p title=\"{{ _('Save') }}\">· {{ name }} <kbd>Esc</kbd> {{ n }}%</p>"
    plant(tmp_path, f"{folder}/_marked.html", marked)
    plant(tmp_path, f"{folder}/_bare.html", "<p title='Save'>Save {{ name }}</p><input placeholder='Name'>")
    plant(tmp_path, f"{folder}/_strings.html", "{{ ui.button('Save') }}{{ _('Of %(who)s', who='the lead') }}")
    assert [line.split(": ")[1] for line in bare_texts(tmp_path)] == ["Save", "Save", "Name"]
    assert [line.split(": ")[1] for line in bare_strings(tmp_path)] == ["Save", "the lead"]
