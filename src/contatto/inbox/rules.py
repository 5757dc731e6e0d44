"""Rules of threads, automatic messages, and signed links."""

import re
import struct
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from itsdangerous import BadSignature, Signer

from contatto.channels.model import LOST_ACCESS
from contatto.inbox.model import AutomaticMessages, PreparedReply
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.values import from_base64url, to_base64url
from contatto.leads.model import Evidence
from contatto.measurement.model import MeasuredAd

TEXT_LIMIT: Final = 6_000
"""Most characters of a message that we send or take from the chat page (the API's own limit for a text)."""
SNIPPET_LIMIT: Final = 120


def check_client_id(client_message_id: str) -> None:
    """Refuse an id of a message that our chat page would not send. Raises Refused: INVALID."""
    if not (8 <= len(client_message_id) <= 64 and client_message_id.isprintable()):
        raise Refused(errors.INVALID, "client_message_id: use 8 to 64 printable characters.")


RETRY_AFTER_S: Final = (5, 30, 120, 600, 1_800, 3_600)
"""Seconds before each further try to send a reply; when they are used up it is dead."""

STOPPED: Final = {
    "answer_lost": N_(
        "The platform's response was lost. The message may have been delivered. Check "
        "before you send it again."
    ),
    "broken": N_("Something went wrong in Contatto and was logged. Try again."),
    "dismissed": N_("A member dismissed this message."),
    "blocked": N_("This person is blocked. Unblock them to write."),
    "cannot_send": N_("Reply to this channel in its own app."),
    "cannot_write_first": N_(
        "On this channel, a business cannot write first. Wait for the person's message."
    ),
    "forbidden_address": N_(
        "The platform's address is not allowed. Ask your operator about the setting platform_urls."
    ),
    "no_token": N_("The account has no access token. Add one in Settings > Channels."),
    "person_not_reached": N_("The platform cannot reach this person."),
    "platform_away": N_("The platform was not available for too long."),
    "region_closed": N_(
        "The platform does not let accounts registered in this country send through its API."
    ),
    LOST_ACCESS: N_("The platform refused the access token. Save a new one in Settings > Channels."),
    "too_fast": N_("The platform's message limit is reached."),
    "unreached": N_("The platform could not be reached."),
    "window_closed": N_("The time to reply is over. Wait until the person writes again."),
    "window_used_up": N_("You have sent all messages that the platform allows before the person replies."),
}
"""Why a reply cannot be sent, or was not, in words for the agent."""


MOST_QUESTIONS: Final = 3
MOST_PROMPTS: Final = 6
MOST_KEYWORDS: Final = 4
MOST_KEYWORD_REPLIES: Final = 50
KEYWORD_LIMIT: Final = 40
AUTOMATIC_LIMITS: Final = {
    "welcome": 250, "question": 80, "answer": 200, "title": 18, "content": 150, "reply": 500,
}  # fmt: skip
"""Most characters of each part of the automatic messages (P4).

Source: TikTok, automatic messages for business accounts.
"""


def media_token(business_id: str, holder: str, digest: str, until_s: int, signer: Signer) -> str:
    """Return the signed token of a picture link; ``holder`` is the id of the access token."""
    return signer.sign(f"{business_id}.{holder}.{digest}.{until_s}").decode()


def read_media_token(token: str, now_s: int, signer: Signer) -> tuple[str, str, str]:
    """Return business, id of the access token, and picture of a link. Raises UNSIGNED; LINK_EXPIRED."""
    try:
        business_id, holder, digest, until_s = signer.unsign(token).decode().split(".")
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    if now_s > int(until_s):
        raise Refused(errors.LINK_EXPIRED, "The link is older than ten minutes. Request a new one.")
    return business_id, holder, digest


_TOO_LONG: Final = N_("%(field)s: use at most %(most)s characters.")


def automatic_problem(content: AutomaticMessages) -> LazyText | None:
    """Return the first thing that breaks a limit of the automatic messages, or None."""
    counts = (
        ("question", len(content.questions), MOST_QUESTIONS),
        ("title", len(content.prompts), MOST_PROMPTS),
        ("keywords", len(content.keywords), MOST_KEYWORD_REPLIES),
    )
    for field, count, most in counts:
        if count > most:
            return LazyText("%(field)s: The limit is %(most)s.", field=field, most=most)
    texts = [("welcome", content.welcome)] if content.welcome else []
    texts += [("question", question.ask) for question in content.questions]
    texts += [("answer", question.say) for question in content.questions]
    texts += [("title", prompt.ask) for prompt in content.prompts]
    texts += [("content", prompt.say) for prompt in content.prompts]
    texts += [("reply", keyword.say) for keyword in content.keywords]
    for field, text in texts:
        most = AUTOMATIC_LIMITS[field]
        if not 0 < len(text) <= most:
            says = _TOO_LONG if field == "welcome" else N_("%(field)s: use 1 to %(most)s characters.")
            return LazyText(says, field=field, most=most)
    if any(not 0 < len(keyword.words) <= MOST_KEYWORDS for keyword in content.keywords):
        return LazyText("keywords: use 1 to %(most)s for each reply.", most=MOST_KEYWORDS)
    words = [word for keyword in content.keywords for word in keyword.words]
    if any(len(word) > KEYWORD_LIMIT for word in words):
        return LazyText(_TOO_LONG, field="keywords", most=KEYWORD_LIMIT)
    return LazyText("keywords: use each word once.") if len(set(words)) < len(words) else None


def with_ad(content: AutomaticMessages, ad: MeasuredAd | None) -> AutomaticMessages:
    """Return automatic messages of a chat, with the welcome and questions of the ad that opened it, if any.

    The account's prompts and keywords stay: a returning person may know them.
    """
    if ad is None or not ad.welcome:
        return content
    pairs = zip(ad.questions, ad.answers, strict=True)
    return replace(content, welcome=ad.welcome, questions=tuple(PreparedReply(*pair) for pair in pairs))


def automatic_answer(content: AutomaticMessages, text: str) -> str | None:
    """Return the automatic answer to a message that is exactly a question or a keyword."""
    question_text = text.strip()
    answers = {question.ask: question.say for question in content.questions}
    replies = {word: keyword.say for keyword in content.keywords for word in keyword.words}
    return answers.get(question_text) or replies.get(question_text)


def mentioned_members(text: str, members: Mapping[str, str]) -> set[str]:
    """Return the members that a text mentions with an at sign, by id; the longer of two names wins."""
    member_ids = set()
    rest = text.casefold()
    for member_id, name in sorted(members.items(), key=lambda each: -len(each[1])):
        marked = re.compile(rf"(?<!\w)@{re.escape(name.casefold())}(?!\w)")
        if name and marked.search(rest):
            member_ids.add(member_id)
            rest = marked.sub("", rest)
    return member_ids


SCHEDULE_WITHIN: Final = timedelta(days=30)
MOST_SCHEDULED: Final = 20
"""Replies of one thread that may wait at the same time."""
TARGET_LIMIT_MIN: Final = 7 * 24 * 60
SEARCHED_MESSAGES: Final = 4_000
"""Most messages that a search decrypts, newest first."""

FORM_LINK_DAYS: Final = 30
"""Days for which the link of a form works."""
_LINK: Final = struct.Struct(">16s16sQI")


@dataclass(frozen=True, slots=True)
class FormLink:
    """Content of a form link: the conversation and the published form."""

    business_id: str
    conversation_id: str
    number: int
    until_s: int


def sign_form_link(link: FormLink, signer: Signer) -> str:
    """Return the link as the last part of an address."""
    ids = (uuid.UUID(link.business_id).bytes, uuid.UUID(link.conversation_id).bytes)
    return signer.sign(to_base64url(_LINK.pack(*ids, link.number, link.until_s))).decode()


def read_form_link(text: str, signer: Signer) -> FormLink | None:
    try:
        body = signer.unsign(text).decode()
    except BadSignature:
        return None
    business, conversation, number, until_s = _LINK.unpack(from_base64url(body))
    return FormLink(str(uuid.UUID(bytes=business)), str(uuid.UUID(bytes=conversation)), number, until_s)


NOTE_LIMIT: Final = 4_000
SHORTCUT: Final = re.compile(r"[\w-]{1,30}")
MOST_SAVED: Final = 200
SNOOZES: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
"""Spans of a snooze, by the word that the page sends."""


def stop_text(reason: str) -> LazyText:
    """Return a reason in words; codes of the platform itself are shown as they are."""
    known_text = STOPPED.get(reason)
    if known_text:
        return LazyText(known_text)
    return LazyText("The platform refused the message (%(reason)s).", reason=reason.replace("_", " "))


def snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET_LIMIT else f"{line[: SNIPPET_LIMIT - 1]}…"


def cut_segments(text: str, evidence: Iterable[Evidence]) -> list[tuple[str, Evidence | None]]:
    """Cut a text at its evidence, in order; overlapping spans keep the first, spans outside are ignored.

    Each part comes with the evidence that underlines it, None for plain text.
    """
    segments: list[tuple[str, Evidence | None]] = []
    done = 0
    for item in sorted(evidence, key=lambda each: (each.start, -each.end)):
        if not done <= item.start < item.end <= len(text):
            continue
        if item.start > done:
            segments.append((text[done : item.start], None))
        segments.append((text[item.start : item.end], item))
        done = item.end
    if done < len(text) or not segments:
        segments.append((text[done:], None))
    return segments
