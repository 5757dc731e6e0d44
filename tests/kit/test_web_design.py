"""The design keeps its promises: contrast of every token pair, both directions of writing, no inline code."""

import re
from pathlib import Path

import pytest

import contatto

ROOT = Path(contatto.__file__).parent
STYLES = sorted(ROOT.glob("*/static/*.css"))
TEMPLATES = sorted(ROOT.glob("**/templates/**/*.html"))
TOKENS = (ROOT / "ui" / "static" / "tokens.css").read_text()

TEXT_ON = [
    ("ink", "paper"), ("ink", "surface"), ("ink-2", "paper"), ("ink-2", "surface-2"), ("ink-2", "surface-3"),
    ("ink-3", "paper"), ("ink-3", "surface"), ("ink-3", "surface-2"), ("on-primary", "primary"),
    ("on-primary", "primary-hover"), ("primary-ink", "surface"), ("primary-ink", "primary-soft"),
    ("rail-ink", "rail"), ("rail-ink-2", "rail"), ("rail-ink", "rail-2"), ("found-ink", "found-soft"),
    ("talk-ink", "talk-soft"), ("good-ink", "good-soft"), ("bad-ink", "bad-soft"), ("bad-ink", "surface"),
    ("prize-ink", "prize-soft"), ("bubble-in-ink", "bubble-in"), ("bubble-out-ink", "bubble-out"),
]  # fmt: skip
SHAPE_ON = [("line-strong", "surface"), ("line-strong", "paper"), ("focus", "paper"), ("focus", "surface")]


def _block(opening: str) -> dict[str, str]:
    start = TOKENS.index(opening) + len(opening)
    body = TOKENS[start : TOKENS.index("}", start)]
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", body))


LIGHT = _block(":root {")
DARK = LIGHT | _block(':root[data-theme="dark"] {')


def _luminance(theme: dict[str, str], name: str) -> float:
    value = theme[name]
    while value.startswith("var("):
        value = theme[value[6:-1]]
    parts = [int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(theme: dict[str, str], over: str, under: str) -> float:
    low, high = sorted((_luminance(theme, over), _luminance(theme, under)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("over", "under"), TEXT_ON)
def test_text_reaches_the_contrast_of_wcag_aa(theme: dict[str, str], over: str, under: str) -> None:
    assert _contrast(theme, over, under) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("over", "under"), SHAPE_ON)
def test_edges_of_fields_and_the_focus_ring_can_be_seen(theme: dict[str, str], over: str, under: str) -> None:
    assert _contrast(theme, over, under) >= 3


def test_the_dark_theme_is_the_same_by_choice_and_by_system() -> None:
    assert _block(':root[data-theme="dark"] {') == _block(":root:not([data-theme]) {")


@pytest.mark.parametrize("sheet", STYLES, ids=lambda path: path.name)
def test_styles_know_no_left_and_right(sheet: Path) -> None:
    named = r"(?:^|[\s;{])(?:(?:margin|padding|border|inset)-)?(?:left|right)\s*:"
    aligned = r"(?:text-align|float):\s*(?:left|right)"
    assert not re.search(f"{named}|{aligned}", sheet.read_text())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_hold_no_inline_code_and_trust_no_text(template: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", template.read_text(), flags=re.DOTALL)
    assert not re.search(r"\|\s*safe\b|[^,]\sstyle=|\son\w+=|<style|hx-on|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_form_that_changes_something_carries_the_token(template: Path) -> None:
    forms = re.findall(r"<form\b.*?</form>", template.read_text(), flags=re.DOTALL)
    changing = [form for form in forms if re.search(r'method="post"|hx-post|send\(', form)]
    # One button without fields of its own goes by htmx alone, which sends the token as a header.
    assert [form for form in changing if "csrf()" not in form and 'hx-trigger="load"' not in form] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_template_declares_its_context_first(template: Path) -> None:
    assert template.read_text().startswith("{#")


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([\w-]+)"', (ROOT / "ui/static/sprite.svg").read_text()))
    named = {name for path in TEMPLATES for name in re.findall(r'ui\.icon\("([\w-]+)"', path.read_text())}
    assert named
    assert named <= sprite
