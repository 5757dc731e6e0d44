"""Taking what persons send: one form, or many at once, each table read and written once for all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contatto.forms.model import (
    Booking,
    ConsentReceipt,
    FormAnswer,
    FormSubmitted,
    FormVerdict,
    FormVersion,
    Kind,
    Problem,
    Respondent,
    Submission,
)
from contatto.forms.rules.answers import Checked, check_submission, contacts_of
from contatto.forms.rules.logic import count_score
from contatto.forms.rules.slots import list_hours
from contatto.forms.rules.words import consent_text, hash_text
from contatto.forms.store import records as store
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id, new_id
from contatto.kit.outbox import emit_all
from contatto.leads.actions import records as leads
from contatto.leads.model.leads import Lead, Origin, Signal
from contatto.measurement.rules import natural_number


class Unanswered(Exception):
    """A submission that lacks something; nothing of it was kept."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("the form lacks something")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FilledForm:
    """A published form as somebody filled it in."""

    version: FormVersion
    respondent: Respondent
    sent: Submission

    @property
    def answer_id(self) -> str:
        """The same submission of the same person has the same id, however often it comes."""
        return answer_id_of(self.version.form_id, self.respondent.person_id, self.sent.submission_id)


@dataclass(frozen=True, slots=True)
class FreshAnswer:
    """An answer that is not kept yet, with what it was made of."""

    answer: FormAnswer
    filled: FilledForm
    checked: Checked


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is kept, with the lead that it made or added to."""

    answer: FormAnswer
    lead: Lead | None


type Looked = FormAnswer | FreshAnswer | Unanswered
"""What there is to say of a filled form: the answer that it became before, a new one, or what it lacks."""


def answer_id_of(form_id: str, person_id: str, submission_id: str) -> str:
    """The id of what a person sends by a form."""
    return named_id(form_id, f"{person_id}:{submission_id}")


def submit_form(tx: Tx, version: FormVersion, respondent: Respondent, sent: Submission) -> FormAnswer:
    """Take a form once: keep it with its consents, and make or update the person's one lead (R23, R42).

    The same submission again gives the same answer and changes nothing. What the offer does not fit, or what
    a program sent, leaves only a count.

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    (looked,) = look_through_forms(tx, version.business_id, [FilledForm(version, respondent, sent)])
    if isinstance(looked, Unanswered):
        raise looked
    return looked if isinstance(looked, FormAnswer) else keep_answers(tx, [looked])[0].answer


def look_through_forms(tx: Tx, business_id: str, filled: Sequence[FilledForm]) -> list[Looked]:
    """Check forms of one business, in their order; nothing is kept yet.

    Two of the same person and submission are one answer: the second gets that of the first, as it is before
    it is kept. Who sends the same at the same time waits for this transaction, and finds its answer.
    """
    ids = sorted({each.answer_id for each in filled})
    booked = sorted({each.version.form_id for each in filled if list_hours(each.version.content)})
    locks = {natural_number("form answer", answer_id) for answer_id in ids}
    tx.advisory_locks(locks | {natural_number("form bookings", form_id) for form_id in booked})
    bookings = store.list_bookings(tx, business_id, booked, tx.now)
    known: dict[str, FormAnswer | FreshAnswer] = {
        answer.id: answer for answer in store.list_answers_by_id(tx, business_id, ids)
    }
    found: list[Looked] = []
    for each in filled:
        form_id = each.version.form_id
        looked = known.get(each.answer_id) or _look_through(tx, each, bookings.get(form_id, ()))
        if isinstance(looked, FreshAnswer):
            bookings[form_id] = (*bookings.get(form_id, ()), *_bookings_of(looked))
        if not isinstance(looked, Unanswered):
            known[each.answer_id] = looked
        found.append(looked)
    return found


def _bookings_of(fresh: FreshAnswer) -> list[Booking]:
    """Return the times that a new answer books."""
    answer, hours = fresh.answer, list_hours(fresh.filled.version.content)
    bookings: list[Booking] = []
    for each in answer.answers:
        if each.kind is Kind.APPOINTMENT:
            starts_at = datetime.fromisoformat(each.value).astimezone(UTC)
            ends_at = starts_at + timedelta(minutes=hours[each.key].slot_minutes)
            bookings.append(Booking(answer.form_id, answer.person_id, answer.id, starts_at, ends_at))
    return bookings


def _look_through(tx: Tx, filled: FilledForm, bookings: Sequence[Booking]) -> FreshAnswer | Unanswered:
    version, respondent, sent = filled.version, filled.respondent, filled.sent
    others = [each for each in bookings if each.person_id != respondent.person_id]
    checked = check_submission(version.content, sent, respondent.hidden, tx.now, others)
    verdict = _verdict(checked, sent)
    is_taken = verdict is FormVerdict.TAKEN
    if is_taken and checked.problems:
        return Unanswered(checked.problems)
    answer = FormAnswer(
        id=filled.answer_id,
        business_id=version.business_id,
        form_id=version.form_id,
        version_id=version.id,
        language=sent.language,
        person_id=respondent.person_id,
        channel_account_id=respondent.channel_account_id,
        conversation_id=respondent.conversation_id,
        lead_id="",
        ad_id=respondent.ad_id,
        verdict=verdict,
        score=count_score(version.content, sent.answers) if is_taken else 0,
        answers=checked.answers if is_taken else (),
        at=tx.now,
    )
    return FreshAnswer(answer, filled, checked)


def _verdict(checked: Checked, sent: Submission) -> FormVerdict:
    if sent.trap:
        return FormVerdict.SPAM
    return FormVerdict.NO_FIT if checked.refused else FormVerdict.TAKEN


def keep_answers(tx: Tx, fresh: Sequence[FreshAnswer]) -> list[KeptAnswer]:
    """Keep answers, each once, with what follows those that were taken: leads, consent receipts, events."""
    different = {each.answer.id: each for each in fresh}
    taken = [each for each in different.values() if each.answer.verdict is FormVerdict.TAKEN]
    made = leads.upsert_leads(tx, [_signal_of(each) for each in taken])
    lead_of = {each.answer.id: lead for each, lead in zip(taken, made, strict=True)}
    kept = {number: _kept(each.answer, lead_of.get(number)) for number, each in different.items()}
    store.append_answers(tx, [each.answer for each in kept.values()])
    store.append_receipts(tx, [receipt for each in taken for receipt in _receipts_of(each)])
    for each in taken:
        store.save_bookings(tx, each.answer.business_id, _bookings_of(each))
    emit_all(tx, [_event_of(kept[each.answer.id].answer) for each in taken])
    return [kept[each.answer.id] for each in fresh]


def _kept(answer: FormAnswer, lead: Lead | None) -> KeptAnswer:
    return KeptAnswer(replace(answer, lead_id=lead.id if lead else ""), lead)


def _signal_of(fresh: FreshAnswer) -> Signal:
    answer, version, sent = fresh.answer, fresh.filled.version, fresh.filled.sent
    has_agreed = any(consent.key in sent.consents for consent in version.content.consents)
    return Signal(
        business_id=answer.business_id,
        person_id=answer.person_id,
        channel_account_id=answer.channel_account_id,
        conversation_id=answer.conversation_id,
        origin=Origin.FORM,
        source_id=answer.id,
        at=answer.at,
        contacts=contacts_of(fresh.checked.answers),
        stated_name=fresh.checked.name or None,
        profile_name=fresh.filled.respondent.profile_name,
        form=(version.form_id, version.name, version.version, has_agreed),
    )


def _event_of(answer: FormAnswer) -> tuple[str, Any]:
    of = answer.business_id
    return of, FormSubmitted(of, answer.form_id, answer.id, answer.conversation_id, answer.lead_id)


def _receipts_of(fresh: FreshAnswer) -> Iterable[ConsentReceipt]:
    """What the person was asked to consent to, in the words that they read, and whether they did."""
    answer, content, sent = fresh.answer, fresh.filled.version.content, fresh.filled.sent
    for one in content.consents:
        text = consent_text(content, one, sent.language)
        yield ConsentReceipt(
            id=new_id(),
            business_id=answer.business_id,
            answer_id=answer.id,
            person_id=answer.person_id,
            purpose=one.key,
            given=one.key in sent.consents,
            text=text,
            text_hash=hash_text(text),
            policy_url=content.policy_url,
            language=sent.language,
            at=answer.at,
        )
