"""Documents as HTML, searching them, and which one belongs to which screen."""

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from contatto.guide.model import HelpPage, Hit, Step
from contatto.kit.i18n import N_

SETUP_KEY: Final = "set-up"
"""The purpose under which the vault gives the signer of the link that sets an installation up."""

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
"""The document of each screen, by how its path begins; the longest counts."""
MOST_HITS: Final = 20
_AROUND: Final = 90
"""Characters of an excerpt on either side of what was found."""
_MARKS: Final = re.compile(r"[#*`_|>\[\]]|\([^)\s]*\.(?:md|png)[^)\s]*\)|<!--.*?-->")

STEP_TEXTS: Final[Mapping[Step, tuple[str, str]]] = {
    Step.CHANNEL: (
        N_("Connect a channel"),
        N_("The account that people write to. The web chat only needs a name."),
    ),
    Step.CAPTURE: (
        N_("Turn on lead capture"),
        N_("Contact details in a chat become leads. You need a privacy policy."),
    ),
    Step.FORM: (
        N_("Publish your first form"),
        N_("Questions and consents inside the chat. This step is optional."),
    ),
    Step.AD: (
        N_("Create your first ad"),
        N_("A campaign, an ad group with a goal and a budget, and the ad that opens the chat."),
    ),
    Step.COLLEAGUE: (
        N_("Invite a colleague"),
        N_("By e-mail or by link, with the role they need."),
    ),
    Step.LEAD: (
        N_("See the first lead"),
        N_("Open the preview of your ad, write a phone number into the chat, and find the lead."),
    ),
}  # fmt: skip
STEP_PAGES: Final[Mapping[Step, str]] = {
    Step.CHANNEL: "/settings/channels",
    Step.CAPTURE: "/settings/capture",
    Step.FORM: "/forms",
    Step.AD: "/ads/campaigns/new",
    Step.COLLEAGUE: "/settings/members",
    Step.LEAD: "/leads",
}
"""Where each step is done."""


def page_of_screen(path: str, known: Collection[str]) -> str:
    """The document of a screen; empty for one that has none of its own, or that is not shipped."""
    fitting = [(start, place) for start, place in SCREENS if path == start or path.startswith(f"{start}/")]
    place = max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else ""
    return place if place in known else ""


def search_pages(pages: Iterable[HelpPage], wanted: str) -> list[Hit]:
    """Pages that hold all words that were asked for, those with the words in title or heads first."""
    words = wanted.casefold().split()[:10]
    if not words:
        return []
    scored = [(_score(page, words), page) for page in pages]
    found = sorted((pair for pair in scored if pair[0]), key=lambda pair: (-pair[0], pair[1].title))
    return [Hit(page.place, page.title, _excerpt(page.text, words)) for _, page in found[:MOST_HITS]]


def _score(page: HelpPage, words: Sequence[str]) -> int:
    text, title = page.text.casefold(), page.title.casefold()
    if not all(word in text for word in words):
        return 0
    heads = " ".join(line for line in text.splitlines() if line.startswith("#"))
    guides = 8 if page.place.startswith("how-to/") else 0
    counted = (min(text.count(word), 5) + 20 * (word in title) + 4 * (word in heads) for word in words)
    return guides + sum(counted)


def _excerpt(text: str, words: Sequence[str]) -> str:
    plain = " ".join(_MARKS.sub(" ", text.partition("\n")[2]).split())
    at = max(plain.casefold().find(words[0]), 0)
    start = max(at - _AROUND, 0)
    shown = plain[start : at + _AROUND]
    return f"{'…' if start else ''}{shown.strip()}…"


def render_page(page: HelpPage, known: Collection[str]) -> str:
    """A document as HTML: HTML in it is shown as text, pictures are left out, links lead within the help."""
    made = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table").disable("image")
    tokens = made.parse(page.text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[number + 1].content))
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrSet("href", _address(str(inner.attrGet("href") or ""), page.place, known))
    return str(made.renderer.render(tokens, made.options, {}))


class _Renderer(RendererHTML):
    """Tables and listings stand in frames of their own, which scroll, by keys too."""

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f'<pre tabindex="0"><code>{escapeHtml(tokens[idx].content)}</code></pre>\n'

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return '<div class="table-wrap" tabindex="0" role="group"><table class="table">\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</table></div>\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _address(href: str, place: str, known: Collection[str]) -> str:
    """Where a link of a document leads: within the help, to its own heads, or elsewhere."""
    if re.match(r"https?:|mailto:|#", href):
        return href
    path, _, anchor = href.partition("#")
    folder = place.partition("/")[0]
    inside = "" if folder == TOP else folder
    target = posixpath.normpath(posixpath.join(inside, path)).removesuffix(".md")
    wanted = target if "/" in target else f"{TOP}/{target}"
    return f"/help/{wanted}{'#' if anchor else ''}{anchor}" if wanted in known else "/help"


TOP: Final = "docs"
"""The folder of documents that stand in none."""
