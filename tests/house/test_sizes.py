"""No file grows past what is comfortable to read: more than 900 lines need a reason."""

from pathlib import Path

from tests.house.tree import ROOT, files, plant, short

MOST_LINES = 900
GENERATED = "src/contatto/migrations/versions"


def too_long(root: Path) -> list[str]:
    found = []
    for path in files(root, ".py", ".html", ".css", ".js"):
        name = short(root, path)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES and not name.startswith(GENERATED):
            found.append(f"{name} has {lines} lines, {MOST_LINES} are allowed")
    return found


def test_no_file_is_too_long() -> None:
    assert too_long(ROOT) == []


def test_a_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/rules.py", "x = 1\n" * 901)
    plant(tmp_path, "src/contatto/kit/outbox.py", "x = 1\n" * 901)
    plant(tmp_path, "src/contatto/leads/templates/list.html", "<p>\n" * 901)
    plant(tmp_path, "src/contatto/leads/store.py", "x = 1\n" * 900)
    assert [line.split(" ")[0] for line in too_long(tmp_path)] == [
        "src/contatto/kit/outbox.py",
        "src/contatto/leads/rules.py",
        "src/contatto/leads/templates/list.html",
    ]
