"""Small pieces of Markdown for the generated pages."""

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by `make docs` from the code. Change it there. -->"


def page(title: str, says: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", GENERATED, says, *parts]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell(each) for each in line) + " |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def first_sentence(text: str | None) -> str:
    """Return the first line of a docstring, or nothing."""
    return (text or "").strip().split("\n\n")[0].replace("\n", " ").replace("``", "`").strip()
