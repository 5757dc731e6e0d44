"""Taking the forms that customers fill in, many in one transaction, and thanking for them in the threads."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from contatto.channels.model import ChannelAccount, MessageKind, Sender, WasRead
from contatto.forms.actions import (
    FilledForm,
    FreshAnswer,
    Looked,
    Unanswered,
    keep_answers,
    look_through_forms,
)
from contatto.forms.model import FormAnswer, FormVerdict, FormVersion, HiddenValue, Respondent, Submission
from contatto.forms.rules.content import text_of
from contatto.forms.store import list_versions_by_number
from contatto.inbox.actions.threads import open_conversation, person_id_of
from contatto.inbox.index import Threads
from contatto.inbox.limits import limit_newcomers
from contatto.inbox.model import Conversation, Message, MessageSent
from contatto.inbox.store.conversations import Move
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.gathered import GatheredWork
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit_all
from contatto.kit.shared_limits import SharedLimit
from contatto.measurement.index import list_last_taps
from contatto.measurement.model import MeasuredAd, Touch

AT_ONCE: Final = 64
"""Most forms in one transaction; more would hold SQLite's one writer for longer than other batches do."""
SHOWN: Final = 300
"""Characters of an answer that stand in the thread; the answers of the form have all of it."""


@dataclass(frozen=True, slots=True)
class ChatVisitor:
    """Who has a chat page open, and the network that they come from."""

    account: ChannelAccount
    visitor: str
    network: str


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A form as a customer handed it in.

    Attributes:
        number: that of the version that they opened.
        conversation_id: the thread that they stand in; beside a chat it may be a new one.
        beside: the chat that it was filled in beside; None where a link opened it.
        misopened: what is wrong with how it was opened.
    """

    business_id: str
    number: int
    conversation_id: str
    sent: Submission
    beside: ChatVisitor | None = None
    misopened: Refused | None = None


type Outcome = FormAnswer | Unanswered | Refused
type Handing = Callable[[Callable[[Tx], list[Outcome]]], Callable[[Tx], list[Outcome]]]


class GatheredForms:
    """Forms that come at the same time, taken together.

    Args:
        db: where they are kept.
        most_new: so many newcomers may come to an account in an hour, by network; 0 for any number.
        handing: makes a transaction hand out its events.
    """

    def __init__(self, db: Database, most_new: int, handing: Handing) -> None:
        def take(tx: Tx, handed: Sequence[HandedIn]) -> list[Outcome]:
            return handing(partial(take_forms, handed=handed, most_new=most_new))(tx)

        self.forms: Final = GatheredWork(db.write, take, AT_ONCE)


def take_form(tx: Tx, handed: HandedIn) -> FormAnswer:
    """Take one form.

    Raises:
        Unanswered: with a problem for each field that lacks something.
        Refused: NOT_FOUND, or what was wrong with its opening.
    """
    (outcome,) = take_forms(tx, [handed])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def take_forms(tx: Tx, handed: Sequence[HandedIn], most_new: int = 0) -> list[Outcome]:
    """Take forms in their order, each once, and thank in the thread for those filled in beside a chat.

    Of a form that is refused, or lacks something, nothing is kept (R41, R42).
    """
    outcomes: dict[int, Outcome] = {}
    for business_id in dict.fromkeys(each.business_id for each in handed):
        mine = {place: each for place, each in enumerate(handed) if each.business_id == business_id}
        taken = _FormBatch(tx, business_id, list(mine.values())).take(most_new)
        outcomes |= dict(zip(mine, taken, strict=True))
    return [outcomes[place] for place in range(len(handed))]


class _FormBatch:
    """Forms of one business: what they need is read once."""

    def __init__(self, tx: Tx, business_id: str, handed: Sequence[HandedIn]) -> None:
        self._tx = tx
        self._business_id = business_id
        self._handed = handed
        self._threads = Threads(tx)
        self._versions = list_versions_by_number(tx, business_id, {each.number for each in handed})
        self._threads.read([business_id], {each.conversation_id for each in handed}, [], [])
        people = {person_id for each in handed if (person_id := self._person_of(each))}
        self._threads.read([business_id], [], people, [])
        self._taps = list_last_taps(tx, business_id, people)

    def take(self, most_new: int) -> list[Outcome]:
        filled = [self._fill(each) for each in self._handed]
        to_look = [each for each in filled if isinstance(each, FilledForm)]
        looked = iter(look_through_forms(self._tx, self._business_id, to_look))
        found = [next(looked) if isinstance(each, FilledForm) else each for each in filled]
        refused = self._refuse_newcomers(found, most_new) if most_new else {}
        admitted: list[Looked | Refused] = [
            refused.get(each.conversation_id, one) if isinstance(one, FreshAnswer) else one
            for each, one in zip(self._handed, found, strict=True)
        ]
        return self._keep(admitted)

    def _person_of(self, handed: HandedIn) -> str:
        """The person in the thread; empty for a link into a thread that is not there."""
        if known := self._threads.find_conversation(self._business_id, handed.conversation_id):
            return known.person_id
        chat = handed.beside
        return person_id_of(self._tx.vault, chat.account, chat.visitor) if chat else ""

    def _fill(self, handed: HandedIn) -> FilledForm | Refused:
        version, person_id = self._versions.get(handed.number), self._person_of(handed)
        if version is None or not person_id:
            return Refused(errors.NOT_FOUND, "Form not found.")
        if handed.misopened is not None:
            return handed.misopened
        known, tapped = self._threads.find_person(self._business_id, person_id), self._taps.get(person_id)
        conversation = self._threads.find_conversation(self._business_id, handed.conversation_id)
        account_id = handed.beside.account.id if handed.beside else ""
        respondent = Respondent(
            business_id=self._business_id,
            person_id=person_id,
            channel_account_id=conversation.channel_account_id if conversation else account_id,
            conversation_id=handed.conversation_id,
            profile_name=known.name if known else "",
            ad_id=tapped[1].ad_id if tapped else None,
            hidden=_hidden_values(*tapped) if tapped else {},
        )
        return FilledForm(version, respondent, _in_language_of(version, handed.sent))

    def _refuse_newcomers(self, found: Sequence[Looked | Refused], most: int) -> dict[str, Refused]:
        """Count threads that begin against the networks they come from; what is told to those too many."""
        limit, lines = limit_newcomers(most), defaultdict[str, list[str]](list)
        for each, one in zip(self._handed, found, strict=True):
            is_known = self._threads.find_conversation(self._business_id, each.conversation_id) is not None
            if isinstance(one, FreshAnswer) and each.beside and not is_known:
                line = lines[f"{each.beside.account.id}:{each.beside.network}"]
                line += [each.conversation_id] if each.conversation_id not in line else []
        refused: dict[str, Refused] = {}
        for key, line in sorted(lines.items()):
            try:
                limit.take(self._tx, key, len(line))
            except Refused:
                refused |= self._take_apart(limit, key, line)
        return refused

    def _take_apart(self, limit: SharedLimit, key: str, line: Sequence[str]) -> dict[str, Refused]:
        refused: dict[str, Refused] = {}
        for conversation_id in line:
            try:
                limit.take(self._tx, key)
            except Refused as error:
                refused[conversation_id] = error
        return refused

    def _keep(self, looked: Sequence[Looked | Refused]) -> list[Outcome]:
        """Keep leads before threads, as is done for messages: a new thread is inserted with its lead."""
        kept = keep_answers(self._tx, [each for each in looked if isinstance(each, FreshAnswer)])
        answers = iter(kept)
        outcomes = [next(answers).answer if isinstance(each, FreshAnswer) else each for each in looked]
        thanked = self._thank(outcomes)
        for each in kept:
            self._threads.note_lead(each.answer.conversation_id, each.lead)
        self._threads.write()
        events = [MessageSent(self._business_id, each.conversation_id, each.id) for each in thanked]
        emit_all(self._tx, [(self._business_id, event) for event in events])
        return outcomes

    def _thank(self, answers: Sequence[Outcome]) -> list[Message]:
        """Open the threads of those who answered beside a chat, and append what they are told there."""
        is_taken = [isinstance(each, FormAnswer) and each.verdict is FormVerdict.TAKEN for each in answers]
        ids = [_thanks_id(each) for each in answers if isinstance(each, FormAnswer)]
        self._threads.read([self._business_id], [], [], ids)
        thanked: list[Message] = []
        for each, answer, taken in zip(self._handed, answers, is_taken, strict=True):
            chat = each.beside
            if chat is None or not isinstance(answer, FormAnswer):
                continue
            # The person stands in the thread: to open it, that is all that needs to be known.
            was_there = WasRead(chat.visitor, chat.visitor, self._tx.now)
            conversation = open_conversation(self._tx, chat.account, was_there, self._threads)
            message = _thanks_of(conversation, self._versions[each.number], answer)
            if taken and self._threads.append(self._business_id, message):
                move = Move(conversation, answer.at, from_customer=False, is_automatic=True)
                self._threads.move(move)
                thanked.append(message)
        return thanked


def _hidden_values(touch: Touch, ad: MeasuredAd) -> dict[HiddenValue, str]:
    return {
        HiddenValue.CAMPAIGN: ad.campaign_name,
        HiddenValue.AD_GROUP: ad.ad_group_name,
        HiddenValue.AD: ad.ad_name,
        HiddenValue.CLICK: str(touch.touch_id),
    }


def _in_language_of(version: FormVersion, sent: Submission) -> Submission:
    languages = version.content.languages
    return sent if sent.language in languages else replace(sent, language=languages[0])


def _thanks_id(answer: FormAnswer) -> str:
    return named_id(answer.id, "thanks")


def _thanks_of(conversation: Conversation, version: FormVersion, answer: FormAnswer) -> Message:
    """The form's own thank-you, with what was handed in, as a message of the business, once for an answer."""
    handed_in = "\n".join(f"{each.label}: {each.shown[:SHOWN]}" for each in answer.answers if each.shown)
    parts = (text_of(version.content, key, answer.language) for key in ("thanks_title", "thanks_text"))
    return Message(
        seq=0,
        id=_thanks_id(answer),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.AUTOMATIC,
        text="\n\n".join(filter(None, ("\n".join(filter(None, parts)), handed_in))),
        author=version.name,
        at=answer.at,
    )
