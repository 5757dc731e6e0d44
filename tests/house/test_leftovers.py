"""Nothing in the tree belongs to one machine, one network or one working day."""

import re
import subprocess
from pathlib import Path

from tests.house.tree import ROOT, plant

REAL_ADDRESS = "an address that is not an example"
LEFTOVERS = {
    "a folder of one machine": re.compile(r"(?<![\w.~])/(?:root|work|Users|home/\w+)/[\w.]"),
    "a folder outside of the repository": re.compile(
        r"(?<![\w/])(?:\.\./)+shared\b|\bshared/(?:spec|data)\b"
    ),
    "unfinished work": re.compile(r"\b(?:TODO|FIXME|XXX)\b"),
    "a text that speaks of its writing": re.compile(r"\b(?:the brief|workplace|sub-?agent|language model)\b"),
    REAL_ADDRESS: re.compile(r"\b[\w.+-]+@(?:gmail|outlook|yahoo|hotmail)\.[a-z]+\b"),
}
TEXT = {".py", ".md", ".html", ".css", ".js", ".toml", ".yaml", ".yml", ".json", ".jsonl", ".txt", ".sh", ""}
SKIPPED = {"vendor", ".git", ".venv", "fixtures"}
PACKAGE_INDEX = re.compile(r'registry = "([^"]+)"')


def kept_files(root: Path) -> list[Path]:
    """What is, or would be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [root / name for name in listed.split("\0") if name]
    return [
        path for path in paths if path.is_file() and path.suffix in TEXT and not SKIPPED & set(path.parts)
    ]


def leftovers(root: Path) -> list[str]:
    found = []
    for path in kept_files(root):
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        for fault, pattern in LEFTOVERS.items():
            if fault == REAL_ADDRESS and "capture" in path.parts:
                continue  # the detector has to know how people write the addresses of the large providers
            found += [
                f"{path.relative_to(root)}: {fault}: {match.group()}" for match in pattern.finditer(text)
            ]
    return found


def test_nothing_is_left_over() -> None:
    assert leftovers(ROOT) == []


def test_the_lock_names_the_public_index_alone() -> None:
    assert set(PACKAGE_INDEX.findall((ROOT / "uv.lock").read_text())) == {"https://pypi.org/simple"}


def test_leftovers_are_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    plant(tmp_path, "a.py", "PATH = '/home/someone/data'\n")
    plant(tmp_path, "docs/b.md", "TODO: see ../shared/plan.md\n")
    plant(tmp_path, "c.py", "EMAIL = 'someone" + "@gmail.com'")
    plant(tmp_path, "fine.md", "Mount it at /data or ~/work/x, see https://example.com/work/.\n")
    assert [line.split(":")[0] for line in leftovers(tmp_path)] == ["a.py", "c.py", "docs/b.md", "docs/b.md"]
