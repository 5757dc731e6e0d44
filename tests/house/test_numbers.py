"""Numbers that people type are read in one place, by the rules of their language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import PACKAGE, ROOT, files, parse, rooms, short

READERS = {"int", "float", "Decimal", "to_micros", "parse_decimal", "parse_number"}
OURS = {
    "src/contatto/ad_platforms/rules.py: float(day_text)": "the day of a spreadsheet, by its number",
    "src/contatto/ad_platforms/rules.py: int(float(day_text))": "the day of a spreadsheet, by its number",
    "src/contatto/ad_platforms/rules.py: int(plain)": "a count of a file, digits alone",
    "src/contatto/ad_platforms/rules.py: to_micros(plain)": "an amount of a file",
    "src/contatto/ads/pages/tree.py: int(version)": "the hidden time of a change",
    "src/contatto/ads/pages/tree.py: int(whole.click_window_days)": "days as we wrote them",
    "src/contatto/ads/pages/tree.py: int(whole.view_window_days)": "days as we wrote them",
    "src/contatto/ads/pages/tree.py: int(copied[AUDIT_KEYS[kind]])": "the number of a copy",
    "src/contatto/crm/actions/targets.py: int(micros_text)": "the time in a state of ours",
    "src/contatto/crm/actions/targets.py: int(number)": "the number in a state of ours",
    "src/contatto/forms/pages.py: int(at)": "where the next page of answers begins",
    "src/contatto/inbox/pages/desk.py: int(text)": "where the next page of conversations begins",
    "src/contatto/forms/rules/answers.py: int(text)": "the time in a token of ours",
    "src/contatto/forms/rules/answers.py: int(hour)": "a time that the browser's clock field writes",
    "src/contatto/forms/rules/answers.py: int(minute)": "a time that the browser's clock field writes",
    "src/contatto/jobs/rules.py: int(match[1])": "the number in a reference of ours",
    "src/contatto/forms/rules/answers.py: int(left_s)": "seconds that were counted",
    "src/contatto/inbox/rules.py: int(until_s)": "the time in a token of ours",
    "src/contatto/people/actions.py: int(until_s)": "the time in a token of ours",
    "src/contatto/operators/actions.py: int(tx.scalar(query))": "a sum of the database",
}
"""What the rooms of forms turn into numbers by themselves: what programs write, and what each is."""
MARKS = re.compile(r'inputmode="(?:decimal|numeric)"|type="number"|"inputmode": "(?:decimal|numeric)"')


def readings(root: Path) -> set[str]:
    """Each place in a room of forms where a text may become a number: file, and the call."""
    found = set()
    for room in ("pages", "rules", "actions"):
        for path in rooms(root, room):
            for function in ast.walk(parse(path)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    texts = None if room == "pages" else _texts(function)
                    found |= {f"{short(root, path)}: {ast.unparse(call)}" for call in _reads(function, texts)}
    return found


def _reads(function: ast.AST, texts: set[str] | None) -> Iterator[ast.Call]:
    """The calls that make a number of one of these texts, or, without them, of anything that may be one."""
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and node.args):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        value = node.args[0]
        if name not in READERS or isinstance(value, ast.Constant | ast.BinOp):
            continue
        is_text = not isinstance(value, ast.Call) and "self." not in ast.unparse(value)
        if is_text if texts is None else texts & _names(value):
            yield node


def _texts(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names of a function's texts: its arguments of that type, and what is made of them."""
    args = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    texts = {each.arg for each in args if each.annotation and "str" in ast.unparse(each.annotation)}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and texts & _names(node.value):
            texts |= {name for target in node.targets for name in _names(target)}
    return texts


def _names(value: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}


def typed_fields(root: Path) -> Iterator[str]:
    """Fields for numbers that do not say so to the script which shows what is understood."""
    for path in files(root, ".html", under=("src",)):
        for tag in re.findall(r"<input[^>]*>|ui\.field\([^)]*\)", path.read_text(encoding="utf-8")):
            if MARKS.search(tag) and "data-number" not in tag:
                yield f"{short(root, path)}: {tag[:60]}"


def test_no_form_reads_a_number_by_itself() -> None:
    assert readings(ROOT) - set(OURS) == set()


def test_what_is_excepted_is_still_there() -> None:
    assert set(OURS) - readings(ROOT) == set()


def test_every_field_for_a_number_shows_what_is_understood() -> None:
    assert list(typed_fields(ROOT)) == []


def test_the_parser_of_numbers_is_called_in_one_file() -> None:
    users = {
        short(ROOT, path)
        for path in files(ROOT, ".py", under=("src",))
        if re.search(r"\bparse_(?:decimal|number)\b", path.read_text(encoding="utf-8"))
    }
    assert users == {f"{PACKAGE}/kit/form_fields.py"}


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("pages", "async def post(sent):\n    return float(sent['budget'])"),
        (
            "rules",
            "def read(form: str) -> int:\n    plain = form.replace(',', '')\n    return to_micros(plain)",
        ),
        ("actions", "def save(tx, minutes: str) -> int:\n    return int(minutes)"),
    ],
)
def test_a_form_that_reads_a_number_by_itself_is_found(tmp_path: Path, room: str, code: str) -> None:
    planted = tmp_path / PACKAGE / "ads" / f"{room}.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(code)
    assert len(readings(tmp_path)) == 1


def test_a_field_that_does_not_say_that_it_holds_a_number_is_found(tmp_path: Path) -> None:
    planted = tmp_path / PACKAGE / "ads" / "templates" / "ads" / "planted.html"
    planted.parent.mkdir(parents=True)
    planted.write_text(
        '<input name="budget" inputmode="decimal">{{ ui.field("x", attrs={"inputmode": "numeric"}) }}'
    )
    assert len(list(typed_fields(tmp_path))) == 2
