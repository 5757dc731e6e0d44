"""Actions on forms: drafts, versions, submissions, files of leads, and pictures."""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from contatto.capture.store import list_switches
from contatto.channels.store import find_account
from contatto.forms import store
from contatto.forms.model import (
    Booking,
    ConsentReceipt,
    Content,
    Form,
    FormAnswer,
    FormSubmitted,
    FormVerdict,
    FormVersion,
    Problem,
    QuestionKind,
    Respondent,
    Submission,
)
from contatto.forms.rules import views
from contatto.forms.rules.answers import (
    check_submission,
    clean,
    contacts_of,
    count_score,
    list_hours,
    text_of,
)
from contatto.forms.rules.drafts import list_problems, start_content
from contatto.forms.rules.views import LeadEntry
from contatto.forms.store import consent_receipts, form_answers, form_bookings
from contatto.kit import errors
from contatto.kit.db.statements import insert_all
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.exports import ExportFormat, ExportJob
from contatto.kit.i18n import LazyText
from contatto.kit.ids import named_id, new_id, new_number
from contatto.kit.languages import LANGUAGES
from contatto.kit.outbox import emit_all
from contatto.kit.table_export import csv_lines
from contatto.kit.values import read_number
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import ErasedPeople, Lead, Origin, Signal
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import (
    list_credits,
    list_leads_after,
    list_leads_by_id,
    list_outgoing_points,
    list_wrong_values,
)
from contatto.leads.store.records import find_lead_of_person
from contatto.measurement.rules import natural_number
from contatto.measurement.store import find_measured_ad_by_number

NAME_LIMIT: Final = 120


def create_form(tx: Tx, business_id: str, name: str, language: str = "en", country: str = "") -> Form:
    """Create a form with a first draft, which takes the business's privacy policy.

    Raises Refused: INVALID.
    """
    if language not in LANGUAGES:
        raise Refused(errors.INVALID, "language: choose one of %(known)s.", known=", ".join(LANGUAGES))
    policies = (switch.privacy_policy_url for switch in list_switches(tx, business_id).values())
    policy = next((url for url in policies if url.startswith("https://")), "")
    form = Form(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        name=check_form_name(name),
        revision=1,
        version=0,
        draft=start_content(language, policy, country),
        edited_by="",
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.insert(store.forms, row_of(form))
    return form


def check_form_name(name: str) -> str:
    """Validate and normalize the name of a form. Raises Refused: INVALID."""
    cleaned = " ".join(clean(name).split())
    if not 0 < len(cleaned) <= NAME_LIMIT:
        raise Refused(errors.INVALID, "name: use 1 to %(most)s characters.", most=NAME_LIMIT)
    return cleaned


def save_draft(tx: Tx, form: Form, content: Content, base_revision: int, editor: str) -> Form:
    """Save a draft. ``base_revision`` is the revision that was edited, ``editor`` identifies an open page.

    A page may overwrite its own later saves.
    Raises Refused: CONFLICT, when somebody else has changed the draft meanwhile; theirs stays. INVALID for a
    picture that was not uploaded.
    """
    is_new_image = content.image not in ("", form.draft.image)
    if is_new_image and store.form_pictures.find(tx, form.business_id, content.image) is None:
        raise Refused(errors.INVALID, "image: upload the picture first.")
    forms = store.forms
    is_own_later = (forms.c.edited_by == editor) & (forms.c.revision > base_revision)
    values = {
        "name": form.name,
        "draft": content,
        "revision": forms.c.revision + 1,
        "edited_by": editor,
        "updated_at": tx.now,
    }
    is_current = sa.or_(forms.c.revision == base_revision, is_own_later)
    if not tx.change(forms, form.business_id, form.id, is_current, **values):
        raise Refused(
            errors.CONFLICT, "Somebody else changed this form in the meantime. Their draft was kept."
        )
    return load_form(tx, form.business_id, form.id)


def load_form(tx: Tx, business_id: str, form_id: str) -> Form:
    """Load a form of the business. Raises Refused: NOT_FOUND."""
    query = sa.select(store.forms).where(*rows_of(store.forms, business_id, id=form_id))
    return check_found(tx.find(Form, query), "Form not found.")


def publish_form(tx: Tx, business_id: str, form_id: str, base_revision: int, actor: str) -> FormVersion:
    """Freeze the draft as the next version. Ads that have an earlier version keep it.

    Raises Refused: NOT_FOUND; CONFLICT when the draft is not the one that was seen; INVALID with a problem.
    """
    form = load_form(tx, business_id, form_id)
    if form.revision != base_revision:
        raise Refused(
            errors.CONFLICT, "Somebody else changed this form in the meantime. Review it, then publish."
        )
    problems = list_problems(form.draft)
    if problems:
        raise Refused(
            errors.INVALID, "%(field)s: %(says)s", field=problems[0].at, says=LazyText(problems[0].says)
        )
    version = FormVersion(
        id=new_id(),
        business_id=business_id,
        form_id=form.id,
        number=form.number,
        version=form.version + 1,
        name=form.name,
        content=form.draft,
        published_by=actor,
        published_at=tx.now,
    )
    forms = store.forms
    unchanged = (forms.c.revision == form.revision) & (forms.c.version == form.version)
    values = {"version": version.version, "number": new_number(), "updated_at": tx.now}
    if not tx.change(forms, business_id, form.id, unchanged, **values):
        raise Refused(errors.CONFLICT)
    tx.insert(store.form_versions, row_of(version))
    return version


def set_default_form(tx: Tx, business_id: str, channel_account_id: str, form_id: str | None) -> None:
    """Choose the form of an account's chats where no ad brings its own; None for no form.

    Raises Refused: NOT_FOUND; INVALID for a form that was never published.
    """
    check_found(find_account(tx, business_id, channel_account_id), "Channel account not found.")
    if form_id is None:
        tx.delete(store.default_forms, business_id, channel_account_id=channel_account_id)
        return
    if load_form(tx, business_id, form_id).version == 0:
        raise Refused(errors.INVALID, "Publish this form first.")
    row = {"channel_account_id": channel_account_id, "business_id": business_id, "form_id": form_id}
    tx.save(store.default_forms, row)


def choose_form(tx: Tx, business_id: str, channel_account_id: str, page_id: str) -> FormVersion | None:
    """Return the form of a chat (R40, R41): the ad's version, else the latest default of the account."""
    version = find_published(tx, business_id, page_id)
    if version is not None:
        return version
    form_id = store.list_default_forms(tx, business_id).get(channel_account_id)
    if form_id is None:
        return None
    versions = store.form_versions
    query = sa.select(versions).where(*rows_of(versions, business_id, form_id=form_id))
    return tx.find(FormVersion, query.order_by(versions.c.version.desc()).limit(1))


def find_published(tx: Tx, business_id: str, page_id: str) -> FormVersion | None:
    """Find a published version by its ``page_id``; None for an unknown id."""
    number = read_number(page_id)
    return None if number is None else store.find_version(tx, business_id, number)


def find_test_lead(tx: Tx, business_id: str, version: FormVersion | None) -> Lead | None:
    person_id = named_id(business_id, f"test:{version.number if version else 0}")
    return find_lead_of_person(tx, business_id, person_id)


def forget_answers(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Delete answers of erased persons; consent receipts stay, without the person.

    A port of leads: return the contact values in the answers, here none.
    """
    in_business = form_answers.c.business_id == erased.business_id
    about = form_answers.c.lead_id.in_(erased.lead_ids) | form_answers.c.person_id.in_(erased.person_ids)
    answers = sa.select(form_answers.c.id).where(in_business, about)
    receipts_of = consent_receipts.c.person_id.in_(erased.person_ids) | consent_receipts.c.answer_id.in_(
        answers
    )
    own = sa.update(consent_receipts).where(consent_receipts.c.business_id == erased.business_id, receipts_of)
    tx.execute(own.values(person_id=""))
    tx.execute(form_answers.delete().where(in_business, about))
    tx.delete(form_bookings, erased.business_id, person_id=erased.person_ids)
    return set()


class Unanswered(Exception):
    """Submission with problems; nothing of it is saved."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("the form lacks something")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FilledForm:
    version: FormVersion
    respondent: Respondent
    sent: Submission

    @property
    def answer_id(self) -> str:
        """Stable id of the submission, so that repeats are recognized."""
        return named_id(self.version.form_id, f"{self.respondent.person_id}:{self.sent.submission_id}")


@dataclass(frozen=True, slots=True)
class FreshAnswer:
    """New answer that is not saved yet, with its submission and the appointments that it books."""

    answer: FormAnswer
    filled: FilledForm
    bookings: list[Booking]


type SavedAnswer = tuple[FormAnswer, Lead | None]
"""Saved answer with its new or updated lead."""
type CheckedForm = FormAnswer | FreshAnswer | Unanswered
"""Result of a check: an earlier answer, a new one, or the problems of the form."""


def check_forms(tx: Tx, business_id: str, filled: Sequence[FilledForm]) -> list[CheckedForm]:
    """Check submitted forms of one business, and return a result for each; save nothing.

    Repeats of a submission by the same person share one result. Advisory locks make a concurrent repeat
    wait for this transaction, so that it gets the saved answer.
    """
    ids = sorted({form.answer_id for form in filled})
    booked = sorted({form.version.form_id for form in filled if list_hours(form.version.content)})
    locks = {natural_number("form answer", answer_id) for answer_id in ids}
    tx.advisory_locks(locks | {natural_number("form bookings", form_id) for form_id in booked})
    bookings = store.list_bookings(tx, business_id, booked, tx.now)
    answers: dict[str, FormAnswer | FreshAnswer] = {
        answer.id: answer for answer in store.list_answers_by_id(tx, business_id, ids)
    }
    results: list[CheckedForm] = []
    for form in filled:
        form_id = form.version.form_id
        existing = answers.get(form.answer_id)
        if existing is not None:
            results.append(existing)
            continue
        version, respondent, sent = form.version, form.respondent, form.sent
        form_bookings = bookings.get(form_id, ())
        foreign_bookings = [booking for booking in form_bookings if booking.person_id != respondent.person_id]
        checked = check_submission(version.content, sent, respondent.hidden, tx.now, foreign_bookings)
        verdict = FormVerdict.NO_FIT if checked.refused else FormVerdict.TAKEN
        if sent.website:
            verdict = FormVerdict.SPAM
        is_taken = verdict is FormVerdict.TAKEN
        if is_taken and checked.problems:
            results.append(Unanswered(checked.problems))
            continue
        answer = FormAnswer(
            id=form.answer_id,
            business_id=version.business_id,
            form_id=form_id,
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
        own_bookings: list[Booking] = []
        for question, hours in list_hours(version.content).items():
            for field in answer.answers:
                if field.key == question:
                    starts_at = datetime.fromisoformat(field.value).astimezone(UTC)
                    ends_at = starts_at + timedelta(minutes=hours.slot_minutes)
                    own_bookings.append(Booking(form_id, answer.person_id, answer.id, starts_at, ends_at))
        bookings[form_id] = (*form_bookings, *own_bookings)
        answers[form.answer_id] = FreshAnswer(answer, form, own_bookings)
        results.append(answers[form.answer_id])
    return results


def save_answers(tx: Tx, fresh: Sequence[FreshAnswer]) -> list[SavedAnswer]:
    """Save answers once each; create leads, consent receipts and events for accepted ones."""
    new_answers = {new_answer.answer.id: new_answer for new_answer in fresh}
    accepted = [
        new_answer for new_answer in new_answers.values() if new_answer.answer.verdict is FormVerdict.TAKEN
    ]
    signals, receipts = list[Signal](), list[ConsentReceipt]()
    for new_answer in accepted:
        version, sent = new_answer.filled.version, new_answer.filled.sent
        answer, content = new_answer.answer, version.content
        has_agreed = any(consent.key in sent.consents for consent in content.consents)
        names = (field.value for field in answer.answers if field.kind is QuestionKind.NAME)
        signals.append(
            Signal(
                business_id=answer.business_id,
                person_id=answer.person_id,
                channel_account_id=answer.channel_account_id,
                conversation_id=answer.conversation_id,
                origin=Origin.FORM,
                source_id=answer.id,
                at=answer.at,
                contacts=contacts_of(answer.answers),
                stated_name=next(filter(None, names), None),
                profile_name=new_answer.filled.respondent.profile_name,
                form=(version.form_id, version.name, version.version, has_agreed),
            )
        )
        for consent in content.consents:
            text = text_of(content, f"{consent.key}.text", sent.language)
            receipts.append(
                ConsentReceipt(
                    id=new_id(),
                    business_id=answer.business_id,
                    answer_id=answer.id,
                    person_id=answer.person_id,
                    purpose=consent.key,
                    given=consent.key in sent.consents,
                    text=text,
                    text_hash=hashlib.sha256(text.encode()).hexdigest(),
                    policy_url=content.policy_url,
                    language=sent.language,
                    at=answer.at,
                )
            )
    new_leads = upsert_leads(tx, signals)
    lead_of = {new_answer.answer.id: lead for new_answer, lead in zip(accepted, new_leads, strict=True)}
    saved_answers: dict[str, SavedAnswer] = {}
    for answer_id, new_answer in new_answers.items():
        lead = lead_of.get(answer_id)
        saved_answers[answer_id] = replace(new_answer.answer, lead_id=lead.id if lead else ""), lead
    store.append_answers(tx, [answer for answer, _ in saved_answers.values()])
    insert_all(tx, consent_receipts, [row_of(receipt) for receipt in receipts])
    for new_answer in accepted:
        business_id = new_answer.answer.business_id
        for booking in new_answer.bookings:
            # A new booking of the same time by the same person replaces the earlier one; another's raises
            # IntegrityError.
            own = {"form_id": booking.form_id, "person_id": booking.person_id, "starts_at": booking.starts_at}
            tx.delete(store.form_bookings, business_id, **own)
            tx.insert(store.form_bookings, row_of(booking) | {"business_id": business_id})
    submitted = [saved_answers[new_answer.answer.id][0] for new_answer in accepted]
    events = [
        FormSubmitted(answer.business_id, answer.form_id, answer.id, answer.conversation_id, answer.lead_id)
        for answer in submitted
    ]
    emit_all(tx, [(event.business_id, event) for event in events])
    return [saved_answers[new_answer.answer.id] for new_answer in fresh]


def render_leads(tx: Tx, job: ExportJob) -> tuple[bytes, str]:
    """Read the leads of a file; return its content and its type: csv, or a zip of a larger one."""
    request, business_id = json.loads(job.request), job.business_id
    ad_number, entries = request["ad_number"], list[LeadEntry]()
    version: FormVersion | None
    if not ad_number:
        version = check_found(store.find_version(tx, business_id, request["page_number"]))
        entries = list_form_entries(tx, version, job.ad_account_id)
    else:  # the leads that the ad earned, of the chat and of its form, latest first
        measured_ad = find_measured_ad_by_number(tx, business_id, ad_number)
        version = find_published(tx, business_id, measured_ad.page_id) if measured_ad else None
        ad_filter = LeadFilter(ads=(ad_number,))
        page = list_leads_after(tx, business_id, ad_filter, None)
        while page:
            ids: set[str] = {lead.id for lead in page}
            earned = list_credits(tx, business_id, ids)
            points = list_outgoing_points(tx, business_id, ids)
            wrong = list_wrong_values(tx, business_id, ids)
            sent = store.list_answers_of_leads(tx, business_id, ids)
            for lead in page:
                own = [answer for answer in sent[lead.id] if version and answer.version_id == version.id]
                ad = earned[lead.id][1] if lead.id in earned else None
                form = (version, views.without_wrong(own[0].answers, wrong[lead.id])) if own else (None, ())
                entries.append(LeadEntry(lead, ad, points[lead.id], *form))
            page = list_leads_after(tx, business_id, ad_filter, page[-1])
    content = b"".join(csv_lines(views.lead_table(version, entries, with_chat=bool(ad_number))))
    if len(content) <= CSV_LIMIT:
        return content, "csv"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("leads.csv", (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue(), "zip"


CSV_LIMIT: Final = 10 * 1024 * 1024
"""Most bytes of a CSV file; a larger one is zipped."""
LEAD_FILES: Final = ExportFormat(render_leads, link=timedelta(minutes=10), keep=timedelta(days=1))


def list_form_entries(
    tx: Tx, version: FormVersion, ad_account_id: str, most: int | None = None
) -> list[LeadEntry]:
    """Return the leads of a form that no other ad account earned: its test lead, then the latest first."""
    business_id = version.business_id
    test = find_test_lead(tx, business_id, version)
    sample = views.sample_answers(version.content, version.number)
    entries = {test.id: LeadEntry(test, None, version=version, answers=sample)} if test else {}
    before: store.AnswerCursor | None = None
    while page := store.list_answers(tx, business_id, before, most or 500, version_id=version.id):
        owners = list_leads_by_id(tx, business_id, {answer.lead_id for answer in page})
        wrong = list_wrong_values(tx, business_id, {lead.id for lead in owners.values()})
        earned = list_credits(tx, business_id, {lead.id for lead in owners.values()})
        for answer in page:
            lead = owners.get(answer.lead_id)
            ad = earned[lead.id][1] if lead is not None and lead.id in earned else None
            is_of_another = ad is not None and not ad.platform and ad.ad_account_id != ad_account_id
            if lead and lead.hidden_at is None and not is_of_another:
                answers = views.without_wrong(answer.answers, wrong[lead.id])
                entries.setdefault(lead.id, LeadEntry(lead, ad, version=version, answers=answers))
        before = (page[-1].at, page[-1].id)
        if most is not None and len(entries) >= most:
            break
    return list(entries.values())
