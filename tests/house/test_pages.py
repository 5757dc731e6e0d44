"""Templates and styles keep to what makes them safe and readable in both directions of writing."""

import re
from pathlib import Path

from tests.house.tree import ROOT, files, plant, short

UNSAFE_JINJA = {
    "marks text as safe": re.compile(r"\|\s*safe\b|Markup\("),
    "switches escaping off": re.compile(r"\{%-?\s*autoescape\s+false"),
}
UNSAFE_HTML = {
    "has a style attribute, which the CSP blocks": re.compile(r"<[^>]*\sstyle\s*="),
    "has an event attribute, which the CSP blocks": re.compile(r"<[^>]*\son[a-z]+\s*="),
    "has a script of its own, which the CSP blocks": re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*json)[^>]*>"),
    "loads from another host": re.compile(r"<(?:script|link|img)[^>]*(?:src|href)\s*=\s*[\"']https?:"),
}
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
SIDE = r"(?:left|right)"
PHYSICAL = re.compile(
    rf"(?<![\w-])(?:{SIDE}|(?:margin|padding|border|scroll-margin|scroll-padding|inset)-{SIDE}[a-z-]*"
    rf"|border-(?:top|bottom)-{SIDE}-radius)\s*:|(?:text-align|float|clear)\s*:\s*{SIDE}\b"
)
SHELL = re.compile(r"\{%-? extends \"ui/(?:base|bare)\.html\"|\{\{ ui\.head\(")
OWN_SHELL = re.compile(r"\{%-? extends \"(?!web/)([^\"]+)\"")
PART = re.compile(r"\{%-? (?:include|import) \"([^\"]+)\"")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def unsafe_templates(root: Path) -> list[str]:
    found = []
    for path in files(root, ".html", under=("src",)):
        text = path.read_text(encoding="utf-8")
        faults = [fault for fault, pattern in UNSAFE_JINJA.items() if pattern.search(text)]
        html = JINJA.sub("", text)
        faults += [fault for fault, pattern in UNSAFE_HTML.items() if pattern.search(html)]
        found += [f"{short(root, path)} {fault}" for fault in faults]
    return found


def stray_templates(root: Path) -> list[str]:
    """Templates on no shell of ui, not even through one of their own, and are no other one's part."""
    texts = {path: path.read_text(encoding="utf-8") for path in files(root, ".html", under=("src",))}
    parts = set(PART.findall("\n".join(texts.values())))
    shells = {f"{path.parent.name}/{path.name}" for path, text in texts.items() if SHELL.search(text)}
    return [
        short(root, path)
        for path, text in texts.items()
        if "/ui/" not in path.as_posix()
        and not path.name.startswith("_")
        and f"{path.parent.name}/{path.name}" not in parts
        and not SHELL.search(text)
        and not shells.intersection(OWN_SHELL.findall(text))
    ]


def physical_styles(root: Path) -> list[str]:
    found = []
    for path in files(root, ".css", under=("src",)):
        text = COMMENT.sub("", path.read_text(encoding="utf-8"))
        found += [f"{short(root, path)} says {match.group()}" for match in PHYSICAL.finditer(text)]
    return found


def test_templates_escape_everything_and_need_no_inline_code() -> None:
    assert unsafe_templates(ROOT) == []


def test_every_page_stands_on_a_shell() -> None:
    assert stray_templates(ROOT) == []


def test_styles_know_start_and_end_but_no_left_and_right() -> None:
    assert physical_styles(ROOT) == []


def test_unsafe_and_stray_templates_are_found(tmp_path: Path) -> None:
    folder = "src/contatto/leads/templates/leads"
    plant(tmp_path, f"{folder}/_row.html", "{{ name|safe }}")
    plant(tmp_path, f"{folder}/page.html", '<p onclick="go()" style="color: red"><script>go()</script>')
    plant(tmp_path, f"{folder}/fine.html", '{% extends "ui/base.html" %}<script src="a.js"></script>')
    plant(tmp_path, f"{folder}/_own.html", '{{ ui.head("Own") }}{% block rest %}{% endblock %}')
    plant(tmp_path, f"{folder}/inner.html", '{% extends "leads/_own.html" %}')
    plant(tmp_path, f"{folder}/lost.html", '{% extends "leads/_row.html" %}')
    assert len(unsafe_templates(tmp_path)) == 4
    assert stray_templates(tmp_path) == [f"{folder}/lost.html", f"{folder}/page.html"]


def test_physical_styles_are_found(tmp_path: Path) -> None:
    lines = ["a { margin-left: 1px }", "b { left: 0 }", "c { text-align: right }", "d { inset-inline: 0 }"]
    plant(tmp_path, "src/contatto/ui/static/planted.css", "\n".join(lines))
    assert [line.split(" says ")[1] for line in physical_styles(tmp_path)] == [
        "margin-left:",
        "left:",
        "text-align: right",
    ]
