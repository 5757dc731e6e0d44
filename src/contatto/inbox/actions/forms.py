"""Submission of forms in batches, and their thank-you messages."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, MessageKind, WasRead
from contatto.channels.store import CONNECTORS
from contatto.forms import model
from contatto.forms.actions import (
    CheckedForm,
    FilledForm,
    FreshAnswer,
    Unanswered,
    check_forms,
    save_answers,
)
from contatto.forms.rules.answers import list_hours, text_of
from contatto.forms.store import list_bookings, list_versions_by_number, list_who_sent
from contatto.inbox.actions.incoming import Threads, conversation_id_of, person_id_of
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import conversation_to_change
from contatto.inbox.auth import limit_newcomers
from contatto.inbox.model import Message, MessageSent
from contatto.inbox.store import messages
from contatto.inbox.store.conversations import Move
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.statements import WorkBatcher
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import named_id
from contatto.kit.values import is_unreadable
from contatto.leads.model import Actor, Origin
from contatto.leads.store import listing
from contatto.leads.store import records as leads
from contatto.measurement.store import list_last_taps

AT_ONCE: Final = 64
"""Most forms in one transaction; more would hold SQLite's one writer for longer than other batches do."""
SHOWN: Final = 300
"""Characters of an answer in the thread; the saved form answer is complete."""


@dataclass(frozen=True, slots=True)
class ChatVisitor:
    """Visitor of a chat page, and their network."""

    account: ChannelAccount
    visitor: str
    network: str


@dataclass(frozen=True, slots=True)
class HandedIn:
    """Form that a customer submitted.

    Attributes:
        number: number of the version that the customer opened.
        conversation_id: the customer's thread, which may not exist yet beside a chat.
        chat: the chat beside which the form was filled in; None for a form link.
        misopened: refusal of a forged or too recent opening time.
    """

    business_id: str
    number: int
    conversation_id: str
    sent: model.Submission
    chat: ChatVisitor | None = None
    misopened: Refused | None = None


type Outcome = model.FormAnswer | Unanswered | Refused
type Dispatch = Callable[[Callable[[Tx], list[Outcome]], Tx], list[Outcome]]


class FormBatcher(WorkBatcher[HandedIn, model.FormAnswer]):
    """Batching writer of submitted forms.

    ``most_new`` is the limit of new threads per account, network and hour; 0 for none. ``dispatch`` runs
    the work of a transaction, and dispatches its events.
    """

    def __init__(self, db: Database, most_new: int, dispatch: Dispatch) -> None:
        super().__init__(
            db.write,
            lambda tx, handed: dispatch(partial(take_forms, handed=handed, most_new=most_new), tx),
            AT_ONCE,
        )


def take_form(tx: Tx, handed: HandedIn) -> model.FormAnswer:
    """Take one form. Raises Unanswered, with problems; Refused: NOT_FOUND, or for its opening time."""
    (outcome,) = take_forms(tx, [handed])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def take_forms(tx: Tx, handed: Sequence[HandedIn], most_new: int = 0) -> list[Outcome]:
    """Save forms in their order, each once; thank in the thread for those filled in beside a chat.

    A refused or incomplete form is not saved (R41, R42).
    """
    outcomes: dict[int, Outcome] = {}
    for business_id in dict.fromkeys(form.business_id for form in handed):
        own_forms = {place: form for place, form in enumerate(handed) if form.business_id == business_id}
        batch_outcomes = _FormBatch(tx, business_id, list(own_forms.values())).take(most_new)
        outcomes |= dict(zip(own_forms, batch_outcomes, strict=True))
    return [outcomes[place] for place in range(len(handed))]


class _FormBatch:
    """Forms of one business; the rows that they need are read once."""

    def __init__(self, tx: Tx, business_id: str, handed: Sequence[HandedIn]) -> None:
        self._tx = tx
        self._business_id = business_id
        self._handed = handed
        self._threads = Threads(tx)
        self._versions = list_versions_by_number(tx, business_id, {form.number for form in handed})
        self._threads.read([business_id], {form.conversation_id for form in handed}, [], [])
        self._person_ids = list[str]()
        """Person of each form; empty for a link to a deleted thread."""
        for form in handed:
            conversation = self._threads.find_conversation(business_id, form.conversation_id)
            chat_person = person_id_of(tx.vault, form.chat.account, form.chat.visitor) if form.chat else ""
            self._person_ids.append(conversation.person_id if conversation else chat_person)
        people = set(filter(None, self._person_ids))
        self._threads.read([business_id], [], people, [])
        self._taps = list_last_taps(tx, business_id, people)

    def take(self, most_new: int) -> list[Outcome]:
        filled: list[FilledForm | Refused] = []
        for form, person_id in zip(self._handed, self._person_ids, strict=True):
            version = self._versions.get(form.number)
            if version is None or not person_id:
                filled.append(Refused(errors.NOT_FOUND, "Form not found."))
                continue
            if form.misopened is not None:
                filled.append(form.misopened)
                continue
            person, tapped = (
                self._threads.find_person(self._business_id, person_id),
                self._taps.get(person_id),
            )
            conversation = self._threads.find_conversation(self._business_id, form.conversation_id)
            account_id = form.chat.account.id if form.chat else ""
            hidden: dict[model.HiddenValue, str] = {}
            if tapped:
                touch, ad = tapped
                hidden = {
                    model.HiddenValue.CAMPAIGN: ad.campaign_name,
                    model.HiddenValue.AD_GROUP: ad.ad_group_name,
                    model.HiddenValue.AD: ad.ad_name,
                    model.HiddenValue.CLICK: str(touch.touch_id),
                }
            respondent = model.Respondent(
                business_id=self._business_id,
                person_id=person_id,
                channel_account_id=conversation.channel_account_id if conversation else account_id,
                conversation_id=form.conversation_id,
                profile_name=person.name if person else "",
                ad_id=tapped[1].ad_id if tapped else None,
                hidden=hidden,
            )
            sent, languages = form.sent, version.content.languages
            in_language = sent if sent.language in languages else replace(sent, language=languages[0])
            filled.append(FilledForm(version, respondent, in_language))
        to_look = [form for form in filled if isinstance(form, FilledForm)]
        looked = iter(check_forms(self._tx, self._business_id, to_look))
        outcomes = [next(looked) if isinstance(form, FilledForm) else form for form in filled]
        refused = self._refuse_newcomers(outcomes, most_new) if most_new else {}
        admitted: list[CheckedForm | Refused] = [
            refused.get(form.conversation_id, one) if isinstance(one, FreshAnswer) else one
            for form, one in zip(self._handed, outcomes, strict=True)
        ]
        return self._keep(admitted)

    def _refuse_newcomers(self, outcomes: Sequence[CheckedForm | Refused], most: int) -> dict[str, Refused]:
        """Count new threads against their networks; return the refusals of those above the limit."""
        limit, lines = limit_newcomers(most), defaultdict[str, list[str]](list)
        for form, one in zip(self._handed, outcomes, strict=True):
            is_known = self._threads.find_conversation(self._business_id, form.conversation_id) is not None
            if isinstance(one, FreshAnswer) and form.chat and not is_known:
                line = lines[f"{form.chat.account.id}:{form.chat.network}"]
                line += [form.conversation_id] if form.conversation_id not in line else []
        refused: dict[str, Refused] = {}
        for key, line in sorted(lines.items()):
            try:
                limit.take(self._tx, key, len(line))
            except Refused:
                for conversation_id in line:
                    try:
                        limit.take(self._tx, key)
                    except Refused as error:
                        refused[conversation_id] = error
        return refused

    def _keep(self, looked: Sequence[CheckedForm | Refused]) -> list[Outcome]:
        """Save leads before threads, as for messages: a new thread is inserted with its lead."""
        kept_answers = save_answers(
            self._tx, [answer for answer in looked if isinstance(answer, FreshAnswer)]
        )
        answers = iter(kept_answers)
        outcomes = [next(answers)[0] if isinstance(answer, FreshAnswer) else answer for answer in looked]
        # Open the threads of forms that were filled in beside a chat, and append the thank-you messages.
        is_taken = [
            isinstance(reply, model.FormAnswer) and reply.verdict is model.FormVerdict.TAKEN
            for reply in outcomes
        ]
        ids = [named_id(reply.id, "thanks") for reply in outcomes if isinstance(reply, model.FormAnswer)]
        self._threads.read([self._business_id], [], [], ids)
        for form, reply, is_answer_taken in zip(self._handed, outcomes, is_taken, strict=True):
            chat = form.chat
            if chat is None or not isinstance(reply, model.FormAnswer):
                continue
            # Opening a thread needs only its person, so an event without a message will do.
            read_mark = WasRead(chat.visitor, chat.visitor, self._tx.now)
            conversation = self._threads.open(chat.account, read_mark)
            version = self._versions[form.number]
            answer_lines = "\n".join(
                f"{form_answer.label}: {form_answer.shown[:SHOWN]}"
                for form_answer in reply.answers
                if form_answer.shown
            )
            parts = (text_of(version.content, key, reply.language) for key in ("thanks_title", "thanks_text"))
            text = "\n\n".join(filter(None, ("\n".join(filter(None, parts)), answer_lines)))
            message_id = named_id(reply.id, "thanks")
            message = Message.of_business(message_id, conversation.id, text, reply.at, version.name)
            message = replace(message, kind=MessageKind.AUTOMATIC)
            if is_answer_taken and self._threads.append(self._business_id, message):
                self._threads.move(Move(conversation, reply.at, from_customer=False, is_automatic=True))
                self._threads.emit(MessageSent(self._business_id, conversation.id, message.id))
        for answer, lead in kept_answers:
            self._threads.note_lead(answer.conversation_id, lead)
        self._threads.write()
        return outcomes


@dataclass(frozen=True, slots=True)
class Opening:
    """Opening of a form by a visitor of our own chat; ``number`` is its version's number."""

    account: ChannelAccount
    visitor: str
    number: int


type Opened = tuple[model.FormVersion, model.Prefill]
"""A form, and its prefill for the visitor."""


class OpeningBatcher(WorkBatcher[Opening, Opened | None]):
    """Batching reader of forms that are opened beside chats."""


def list_opened(tx: Tx, openings: Sequence[Opening]) -> list[Opened | None]:
    """Return the opened forms with their prefills, in their order; None for an unknown form."""
    opened: dict[Opening, Opened] = {}
    for business_id in {opening.account.business_id for opening in openings}:
        own = [opening for opening in openings if opening.account.business_id == business_id]
        versions = list_versions_by_number(tx, business_id, {opening.number for opening in own})
        shown = {opening: versions[opening.number] for opening in own if opening.number in versions}
        prefills = list_prefills(tx, business_id, shown)
        opened |= {opening: (version, prefills[opening]) for opening, version in shown.items()}
    return [opened.get(opening) for opening in openings]


def list_prefills(
    tx: Tx, business_id: str, versions: Mapping[Opening, model.FormVersion]
) -> dict[Opening, model.Prefill]:
    """Return the prefill of opened forms: earlier submission, own details, and booked appointments."""
    people = {opening: person_id_of(tx.vault, opening.account, opening.visitor) for opening in versions}
    forms = {version.form_id for version in versions.values()}
    sent = list_who_sent(tx, business_id, forms, set(people.values())) if forms else set()
    booked_forms = {version.form_id for version in versions.values() if list_hours(version.content)}
    bookings = list_bookings(tx, business_id, booked_forms, tx.now)
    return {
        opening: model.Prefill(
            is_back=(version.form_id, people[opening]) in sent,
            details=_find_details(tx, opening, people[opening], version),
            bookings=bookings.get(version.form_id, ()),
        )
        for opening, version in versions.items()
    }


def _find_details(
    tx: Tx, opening: Opening, person_id: str, version: model.FormVersion
) -> dict[model.QuestionKind, str]:
    """Return the details that a visitor wrote in their own messages.

    They omit other values of the lead: a member or an import entered them, or a merge added them.
    """
    if not any(question.prefill for question in version.content.questions):
        return {}
    business_id = opening.account.business_id
    conversation_id = conversation_id_of(opening.account, opening.visitor)
    lead = leads.find_lead_of_conversation(tx, business_id, person_id, conversation_id)
    if lead is None or lead.hidden_at is not None:
        return {}
    points = {point.id: point for point in listing.list_contact_points(tx, business_id, {lead.id})[lead.id]}
    values: dict[str, str] = {}
    for proof in reversed(leads.list_evidence_of_lead(tx, business_id, lead.id)):
        point = points.get(proof.contact_point_id)
        if (
            point is None
            or point.field in values
            or proof.origin is not Origin.CHAT
            or is_unreadable(point.value)
        ):
            continue
        message = messages.find_message(tx, business_id, proof.source_id)
        if message is not None and message.conversation_id == conversation_id:
            values[point.field] = point.value
    return {kind: values[field] for kind, field in model.CONTACTS.items() if field in values}


def send_form(
    tx: Tx, actor: Actor, conversation_id: str, message_id: str, version: model.FormVersion, address: str
) -> Message:
    """Send a form: a card in our own chat, else a link to ``address``. Raises NOT_FOUND; CANNOT_SEND."""
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    account = check_found(channel_store.find_account(tx, actor.business_id, conversation.channel_account_id))
    is_ours = not CONNECTORS[account.platform].dialect.base_url
    headline = text_of(version.content, "headline", version.content.languages[0]) or version.name
    text = headline if is_ours else f"{headline}\n{address}"
    message = Message.of_business(message_id, conversation_id, text, tx.now, actor.name)
    if is_ours:
        message = replace(message, kind=MessageKind.FORM, form=str(version.number))
    return send_reply(tx, actor.business_id, conversation_id, message)
