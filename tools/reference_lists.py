"""Index pages of decisions, how-tos and tutorials, so that a new page needs no second edit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.markdown import page

DOCS = Path(__file__).resolve().parent.parent / "docs"
HOW_TOS = {
    "For a business or an agency": (
        "the-first-hour", "run-your-first-lead-ad", "connect-a-chat-platform", "answer-chats",
        "work-on-leads", "import-leads", "read-a-report", "run-your-tiktok-ads-with-contatto", "link-a-crm",
        "connect-a-crm-by-consent", "tell-zapier-make-or-n8n", "put-the-chat-on-your-site", "be-alerted",
        "invite-colleagues", "erase-a-person",
    ),
    "For a marketplace or publisher": ("run-a-marketplace", "show-ads-on-your-site"),
    "For an administrator": (
        "run-on-one-machine", "run-on-postgresql", "watch-an-installation", "bring-failed-work-back",
    ),
    "For a developer or analyst": (
        "move-your-script-from-tiktok", "attribute-files-of-events", "run-reports-on-spark",
        "try-delivery-on-your-own-log", "simulate-delivery", "train-on-your-decisions",
    ),
    "For a contributor": (
        "add-a-package", "add-a-channel", "add-a-crm", "add-a-contact-field", "add-a-market-or-language",
        "add-a-form-block", "add-a-lead-filter", "add-a-metric", "add-an-event-handler",
        "send-to-an-outside-system", "add-a-language",
    ),
}  # fmt: skip
"""Guides by reader, in the order of their list."""
DECISIONS = {
    "Structure of the code": ("0001", "0002", "0003", "0004", "0005", "0007", "0013", "0048", "0049", "0051"),
    "Messages, forms and background work": (
        "0010", "0014", "0016", "0017", "0018", "0045", "0063", "0065", "0067", "0113",
    ),
    "Contact details and leads": ("0015", "0020", "0024", "0033", "0076", "0095"),
    "Attribution and reports": ("0008", "0028", "0029", "0030", "0056"),
    "Ad delivery": ("0027", "0042", "0057", "0069", "0070", "0075", "0084", "0087", "0096"),
    "CRMs, ad platforms and programs": ("0025", "0055", "0060", "0061", "0080"),
    "Security and privacy": (
        "0011", "0019", "0023", "0026", "0036", "0037", "0039", "0040", "0041", "0050", "0054",
    ),
    "Screens": ("0009", "0021", "0052"),
}  # fmt: skip
"""Decisions by subject."""


def decisions_page() -> str:
    says = (
        "Why the product is built like this, half a page each, with the check that enforces it. Merged "
        "records keep the lowest number, so numbers have gaps. Experiments are in "
        "[research](../research/index.md)."
    )
    pages = {path.name[:4]: path for path in (DOCS / "decisions").glob("[0-9]*.md")}
    return page("Decisions", says, _grouped(DECISIONS, pages))


def how_to_page() -> str:
    says = "One goal per page. Pages name the test that proves them."
    pages = {path.stem: path for path in (DOCS / "how-to").glob("*.md") if path.stem != "index"}
    return page("How to", says, _grouped(HOW_TOS, pages))


def tutorials_page() -> str:
    says = "One continuous example for each kind of reader. A test runs each of them as it is written."
    return page("Tutorials", says, _list(DOCS / "tutorials"))


def _grouped(groups: Mapping[str, Sequence[str]], pages: Mapping[str, Path]) -> str:
    """Write the list of pages under the headings of their groups.

    Raises:
        ValueError: a page has no group, or a group names a page that does not exist.
    """
    difference = {name for names in groups.values() for name in names} ^ set(pages)
    if difference:
        raise ValueError(f"tools/reference_lists.py: add to a group, or remove: {sorted(difference)}")
    return "\n\n".join(
        f"## {group}\n\n" + "\n".join(_entry(pages[name]) for name in names)
        for group, names in groups.items()
    )


def _list(folder: Path) -> str:
    found = [path for path in sorted(folder.glob("*.md")) if path.name != "index.md"]
    return "\n".join(_entry(path) for path in found)


def _entry(path: Path) -> str:
    return f"- [{_title(path)}]({path.name})"


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
