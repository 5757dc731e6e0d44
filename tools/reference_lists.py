"""Index pages of decisions, how-tos and tutorials, so that a new page needs no second edit."""

from pathlib import Path

from tools.markdown import page

DOCS = Path(__file__).resolve().parent.parent / "docs"


def decisions_page() -> str:
    says = (
        "Why the product is built like this, half a page each, with the check that enforces it. Merged "
        "records keep the lowest number, so numbers have gaps. Experiments are in "
        "[research](../research/index.md)."
    )
    return page("Decisions", says, _list(DOCS / "decisions"))


def how_to_page() -> str:
    says = "Each page names the exact files to write, and the test that proves the work."
    return page("How to", says, _list(DOCS / "how-to"))


def tutorials_page() -> str:
    says = "One continuous example for each kind of reader. A test runs each of them as it is written."
    return page("Tutorials", says, _list(DOCS / "tutorials"))


def _list(folder: Path) -> str:
    found = [path for path in sorted(folder.glob("*.md")) if path.name != "index.md"]
    return "\n".join(f"- [{_title(path)}]({path.name})" for path in found)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
