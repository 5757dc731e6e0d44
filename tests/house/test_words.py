"""Every text that a person reads in a template is marked for translation."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from jinja2 import Environment, nodes

from tests.house.tree import ROOT, files, plant, short

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


def test_every_text_of_a_template_is_marked() -> None:
    assert bare_texts(ROOT) == []


def test_every_sentence_in_an_expression_is_marked() -> None:
    assert bare_strings(ROOT) == []


def test_unmarked_texts_are_found(tmp_path: Path) -> None:
    folder = "src/contatto/leads/templates/leads"
    marked = "{{ _('Save it') }} <p title=\"{{ _('Save') }}\">· {{ name }} <kbd>Esc</kbd> {{ n }}%</p>"
    plant(tmp_path, f"{folder}/_marked.html", marked)
    plant(tmp_path, f"{folder}/_bare.html", "<p title='Save'>Save {{ name }}</p><input placeholder='Name'>")
    plant(tmp_path, f"{folder}/_strings.html", "{{ ui.button('Save') }}{{ _('Of %(who)s', who='the lead') }}")
    assert [line.split(": ")[1] for line in bare_texts(tmp_path)] == ["Save", "Save", "Name"]
    assert [line.split(": ")[1] for line in bare_strings(tmp_path)] == ["Save", "the lead"]
