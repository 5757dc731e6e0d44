"""The documents hang together: pages are reachable, links lead somewhere, decisions are whole."""

import re
from pathlib import Path

from tests.house.tree import ROOT, files, plant, short

MOST_DECISIONS = 60
MOST_WORDS = 320
"""Half a page; the decision on dependencies has a table beside it."""
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives", "Enforced by"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
NAMED_FILE = re.compile(r"`((?:src|tests|bench|tools)/[\w./-]+)`")
EXAMPLES = {"src/contatto/capture/lexicons/xx.toml"}
"""Files that a reader is to write."""


def links_of(page: Path) -> list[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def pages(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def broken_links(root: Path) -> list[str]:
    found = []
    for page in pages(root):
        for link in links_of(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                found.append(f"{short(root, page)} → {link}")
    return found


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def unreachable(root: Path) -> list[str]:
    seen: set[Path] = set()
    waiting = [root / "README.md", root / "docs" / "architecture.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links_of(page)]
    return [short(root, page) for page in root.glob("docs/**/*.md") if page.resolve() not in seen]


def bad_decisions(root: Path) -> list[str]:
    found, numbers = [], set()
    for page in sorted(root.glob("docs/decisions/[0-9]*.md")):
        number = page.name[:4]
        text = page.read_text(encoding="utf-8")
        sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
        if sections != SECTIONS or not text.startswith(f"# {number} ") or number in numbers:
            found.append(short(root, page))
        numbers.add(number)
    return found


def missing_files(root: Path) -> list[str]:
    """List missing files that a page names, such as a test that enforces a decision."""
    return [
        f"{short(root, page)} → {name}"
        for page in pages(root)
        if page.name != "CHANGELOG.md"
        for name in NAMED_FILE.findall(page.read_text(encoding="utf-8"))
        if name not in EXAMPLES and not (root / name).exists()
    ]


def unknown_requirements(root: Path) -> list[str]:
    """Numbers such as R23 that stand in the code and not in the list of requirements."""
    listed = requirements_in((root / "docs" / "requirements.md").read_text(encoding="utf-8"))
    used = {
        number
        for path in files(root, ".py", under=("src", "tests", "bench"))
        if path != Path(__file__)
        for number in re.findall(r"\b[RP][1-9]\d?\b", path.read_text(encoding="utf-8"))
    }
    return sorted(used - listed)


def requirements_in(text: str) -> set[str]:
    ranges = re.findall(r"\b([RP])(\d+)(?:–R(\d+))?", text)
    return {
        f"{kind}{number}" for kind, low, high in ranges for number in range(int(low), int(high or low) + 1)
    }


def test_every_requirement_that_code_names_is_explained() -> None:
    assert unknown_requirements(ROOT) == []


def test_the_readme_is_one_screen_with_five_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = LINK.sub("", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert len(re.findall(r"[^\W\d_]\w*", prose)) <= 450
    figures = text.partition("## Five figures")[2].partition("\n## ")[0]
    assert figures.count("\n| ") == 5 + 2
    assert "docs/benchmarks.md" in figures


def test_every_benchmark_has_a_claim_and_a_command_that_is_there() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!claim|---)(.+) \|$", text, re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        *claim, command = row.split(" | ")
        assert len(claim) == 3, row
        names = re.findall(r"bench\.(\w+)|B=(\w+)", command)
        assert names, row
        assert all((ROOT / "bench" / f"{module or name}.py").exists() for module, name in names), row


def test_every_link_leads_somewhere() -> None:
    assert broken_links(ROOT) == []


def test_every_file_that_a_page_names_exists() -> None:
    assert missing_files(ROOT) == []


def test_every_page_can_be_reached() -> None:
    assert unreachable(ROOT) == []


def test_every_decision_is_whole() -> None:
    assert bad_decisions(ROOT) == []


def test_decisions_stay_few_and_short() -> None:
    records = list(ROOT.glob("docs/decisions/[0-9]*.md"))
    assert len(records) <= MOST_DECISIONS
    words = {short(ROOT, page): len(page.read_text(encoding="utf-8").split()) for page in records}
    assert {name for name, count in words.items() if count > MOST_WORDS} == {
        "docs/decisions/0013-dependencies.md"
    }


def test_faults_in_documents_are_found(tmp_path: Path) -> None:
    whole = "# 0001 A\n" + "".join(f"## {section}\n" for section in SECTIONS)
    plant(tmp_path, "README.md", "[a](docs/a.md) [gone](docs/gone.md) [no heading](docs/a.md#b)")
    plant(tmp_path, "docs/a.md", "# A\n[first](decisions/0001-a.md#decision)\n`[code](is/not/a/link)`")
    plant(tmp_path, "docs/alone.md", "")
    plant(tmp_path, "docs/decisions/0001-a.md", whole)
    plant(tmp_path, "docs/decisions/0002-b.md", "# 0002 B\n## Context\n")
    assert broken_links(tmp_path) == ["README.md → docs/gone.md", "README.md → docs/a.md#b"]
    assert sorted(unreachable(tmp_path)) == ["docs/alone.md", "docs/decisions/0002-b.md"]
    assert bad_decisions(tmp_path) == ["docs/decisions/0002-b.md"]
    plant(tmp_path, "docs/b.md", "Enforced by `tests/gone.py` and `docs/a.md`.")
    assert missing_files(tmp_path) == ["docs/b.md → tests/gone.py"]
    plant(tmp_path, "docs/requirements.md", "R1–R3 and P2")
    plant(tmp_path, "src/contatto/leads/rules.py", '"""As R2 says, unlike R4 and P1."""')
    assert unknown_requirements(tmp_path) == ["P1", "R4"]
