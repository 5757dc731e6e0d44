"""First steps of a business; rendering and search of help pages."""

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from pydantic import BaseModel, Field

from contatto.kit.i18n import N_


class NewInstallation(BaseModel):
    """First business with its owner and ad account, as the form sends it; the country is the account's."""

    business: Annotated[str, Field(max_length=200)] = ""
    display_name: Annotated[str, Field(max_length=100)] = ""
    email: Annotated[str, Field(max_length=320)] = ""
    country: Annotated[str, Field(max_length=2)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    timezone: Annotated[str, Field(max_length=64)] = ""
    password: Annotated[str, Field(max_length=1000, repr=False)] = ""


class Step(StrEnum):
    """First step of a business; done when its object exists."""

    CHANNEL = "channel"
    CAPTURE = "capture"
    FORM = "form"
    AD = "ad"
    COLLEAGUE = "colleague"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class HelpPage:
    """Shipped document; ``place`` is its folder and name without extension, such as ``how-to/x``."""

    place: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """Search result, with the text around the first match."""

    place: str
    title: str
    excerpt: str


TOP: Final = "docs"
"""Folder of top-level documents."""
SETUP_KEY: Final = "set-up"
"""Purpose of the vault's signer of set-up links."""

SCREENS: Final = (
    ("/home", "how-to/the-first-hour"),
    ("/inbox", "how-to/answer-chats"),
    ("/leads/erase", "how-to/erase-a-person"),
    ("/leads", "how-to/work-on-leads"),
    ("/ads", "how-to/run-your-first-lead-ad"),
    ("/forms", "how-to/run-your-first-lead-ad"),
    ("/reports", "how-to/read-a-report"),
    ("/settings/jobs", "how-to/bring-failed-work-back"),
    ("/settings/members", "how-to/invite-colleagues"),
    ("/settings/alerts", "how-to/be-alerted"),
    ("/settings/profile", "how-to/invite-colleagues"),
    ("/settings/channels", "how-to/connect-a-chat-platform"),
    ("/settings/chat", "how-to/run-your-first-lead-ad"),
    ("/settings/subscriptions", "how-to/tell-zapier-make-or-n8n"),
    ("/settings/integrations", "how-to/link-a-crm"),
    ("/settings/marketplaces", "how-to/run-a-marketplace"),
    ("/operator", "how-to/run-a-marketplace"),
    ("/integrations/oauth", "how-to/connect-a-crm-by-consent"),
    ("/settings/inbox", "how-to/answer-chats"),
    ("/settings/replies", "how-to/answer-chats"),
    ("/settings", "how-to/the-first-hour"),
    ("/start", "how-to/the-first-hour"),
)
"""Document of each screen by prefix of its path; the longest prefix wins."""
MOST_HITS: Final = 20
_EXCERPT_MARGIN: Final = 90
"""Characters of an excerpt on either side of the match."""
_MARKUP: Final = re.compile(r"[#*`_|>\[\]]|\([^)\s]*\.(?:md|png)[^)\s]*\)|<!--.*?-->")

STEPS: Final[Mapping[Step, dict[str, str]]] = {
    Step.CHANNEL: {
        "title": N_("Connect a channel"),
        "says": N_("The account that people write to. The web chat only needs a name."),
        "page": "/settings/channels",
    },
    Step.CAPTURE: {
        "title": N_("Turn on lead capture"),
        "says": N_("Contact details in a chat become leads. You need a privacy policy."),
        "page": "/settings/capture",
    },
    Step.FORM: {
        "title": N_("Publish your first form"),
        "says": N_("Questions and consents inside the chat. This step is optional."),
        "page": "/forms",
    },
    Step.AD: {
        "title": N_("Create your first ad"),
        "says": N_("A campaign, an ad group with a goal and a budget, and the ad that opens the chat."),
        "page": "/ads/campaigns/new",
    },
    Step.COLLEAGUE: {
        "title": N_("Invite a colleague"),
        "says": N_("By e-mail or by link, with the role they need."),
        "page": "/settings/members",
    },
    Step.LEAD: {
        "title": N_("See the first lead"),
        "says": N_("Open the preview of your ad, write a phone number into the chat, and find the lead."),
        "page": "/leads",
    },
}
"""Texts of the steps, to be translated, and the pages to do them on."""

_MARKUP_OF: Final[Mapping[str, Callable[..., str]]] = {
    "image": lambda *_: "",
    "fence": lambda _, tokens, at, *__: (
        f'<pre tabindex="0"><code>{escapeHtml(tokens[at].content)}</code></pre>\n'
    ),
    "table_open": lambda *_: '<div class="table-wrap" tabindex="0" role="group"><table class="table">\n',
    "table_close": lambda *_: "</table></div>\n",
}
"""HTML of a document's parts: no pictures, and scrollable, focusable frames around tables and listings."""


def page_of_screen(path: str, places: Collection[str]) -> str:
    """Return the document of a screen; empty if it has none or the document is not shipped."""
    matches = [(start, place) for start, place in SCREENS if path == start or path.startswith(f"{start}/")]
    place = max(matches, key=lambda pair: len(pair[0]))[1] if matches else ""
    return place if place in places else ""


def search_pages(pages: Iterable[HelpPage], query: str) -> list[Hit]:
    """Return pages with all words of a query, matches in titles and headings first."""
    words = query.casefold().split()[:10]
    if not words:
        return []
    scored: list[tuple[int, HelpPage]] = []
    for page in pages:
        text, title = page.text.casefold(), page.title.casefold()
        if all(word in text for word in words):
            heads = " ".join(line for line in text.splitlines() if line.startswith("#"))
            score = 8 if page.place.startswith("how-to/") else 0
            for word in words:
                score += min(text.count(word), 5) + 20 * (word in title) + 4 * (word in heads)
            scored.append((score, page))
    matches = sorted(scored, key=lambda pair: (-pair[0], pair[1].title))
    hits: list[Hit] = []
    for _, page in matches[:MOST_HITS]:
        plain = " ".join(_MARKUP.sub(" ", page.text.partition("\n")[2]).split())
        at = max(plain.casefold().find(words[0]), 0)
        start = max(at - _EXCERPT_MARGIN, 0)
        excerpt = plain[start : at + _EXCERPT_MARGIN]
        hits.append(Hit(page.place, page.title, f"{'…' if start else ''}{excerpt.strip()}…"))
    return hits


def render_page(page: HelpPage, places: Collection[str]) -> str:
    """Render a document as HTML: escape its HTML, omit pictures, and keep links within the help."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for element, markup in _MARKUP_OF.items():
        parser.add_render_rule(element, markup)
    tokens = parser.parse(page.text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = re.sub(r"[^\w\- ]", "", tokens[number + 1].content.lower())
            token.attrSet("id", heading.replace(" ", "-"))
        for inner in token.children or ():
            if inner.type == "link_open":
                href = str(inner.attrGet("href") or "")
                if re.match(r"https?:|mailto:|#", href):
                    continue
                path, _, anchor = href.partition("#")
                folder = page.place.partition("/")[0]
                base = "" if folder == TOP else folder
                target = posixpath.normpath(posixpath.join(base, path)).removesuffix(".md")
                place = target if "/" in target else f"{TOP}/{target}"
                address = f"/help/{place}{'#' if anchor else ''}{anchor}" if place in places else "/help"
                inner.attrSet("href", address)
    return str(parser.renderer.render(tokens, parser.options, {}))
