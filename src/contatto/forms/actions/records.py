"""Making, editing and publishing forms."""

from dataclasses import replace
from typing import Final

from contatto.capture.rules import detect_contacts
from contatto.capture.store import list_switches
from contatto.channels.store import find_account
from contatto.forms.model import (
    Content,
    Form,
    FormVersion,
    TestLeadMade,
)
from contatto.forms.rules.answers import contacts_of
from contatto.forms.rules.drafts import start_content
from contatto.forms.rules.outside import TEST_NAME, sample_answers, sample_email, sample_phone
from contatto.forms.rules.publishing import list_problems
from contatto.forms.rules.readers import clean
from contatto.forms.store import defaults
from contatto.forms.store import records as store
from contatto.forms.store.pictures import has_form_picture
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.kit.ids import named_id, new_id, new_number
from contatto.kit.languages import LANGUAGES
from contatto.kit.numbers import read_number
from contatto.kit.outbox import emit
from contatto.leads.actions import records as leads
from contatto.leads.model.erasing import Gone
from contatto.leads.model.leads import Lead, Origin, Signal
from contatto.leads.store.records import find_lead_of_person

NAME_LIMIT: Final = 120


def create_form(tx: Tx, business_id: str, name: str, language: str = "en", country: str = "") -> Form:
    """Make a form with a draft to begin with; it takes the privacy policy that the business gave before.

    Raises:
        Refused: INVALID.
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
    store.save_form(tx, form)
    return form


def check_form_name(name: str) -> str:
    """A form's name, cleaned.

    Raises:
        Refused: INVALID.
    """
    cleaned = " ".join(clean(name).split())
    if not 0 < len(cleaned) <= NAME_LIMIT:
        raise Refused(errors.INVALID, "name: use 1 to %(most)s characters.", most=NAME_LIMIT)
    return cleaned


def save_draft(tx: Tx, form: Form, content: Content, seen: int, editor: str) -> Form:
    """Keep a draft. ``seen`` is the revision that the editor had before their eyes, ``editor`` one open page.

    Raises:
        Refused: CONFLICT, when somebody else has changed the draft meanwhile; theirs stays.
    """
    if content.image not in ("", form.draft.image) and not has_form_picture(
        tx, form.business_id, content.image
    ):
        raise Refused(errors.INVALID, "image: upload the picture first.")
    if not store.record_draft(tx, replace(form, draft=content), seen, editor):
        raise Refused(
            errors.CONFLICT, "Somebody else changed this form in the meantime. Their draft was kept."
        )
    return load_form(tx, form.business_id, form.id)


def load_form(tx: Tx, business_id: str, form_id: str) -> Form:
    """A form of the business.

    Raises:
        Refused: NOT_FOUND.
    """
    form = store.find_form(tx, business_id, form_id)
    if form is None:
        raise Refused(errors.NOT_FOUND, "Form not found.")
    return form


def publish_form(tx: Tx, business_id: str, form_id: str, seen: int, actor: str) -> FormVersion:
    """Freeze the draft as the next version. Ads that have an earlier version keep it.

    Raises:
        Refused: NOT_FOUND; CONFLICT when the draft is not the one that was seen; INVALID with a problem.
    """
    form = load_form(tx, business_id, form_id)
    if form.revision != seen:
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
    if not store.record_published(tx, form, version.version, new_number()):
        raise Refused(errors.CONFLICT)
    store.save_version(tx, version)
    return version


def set_default_form(tx: Tx, business_id: str, channel_account_id: str, form_id: str | None) -> None:
    """Choose the form of an account's chats where no ad brings its own; None for no form.

    Raises:
        Refused: NOT_FOUND; INVALID for a form that was never published.
    """
    if find_account(tx, business_id, channel_account_id) is None:
        raise Refused(errors.NOT_FOUND, "Channel account not found.")
    if form_id is None:
        defaults.delete_default_form(tx, business_id, channel_account_id)
        return
    if load_form(tx, business_id, form_id).version == 0:
        raise Refused(errors.INVALID, "Publish this form first.")
    defaults.save_default_form(tx, business_id, channel_account_id, form_id)


def choose_form(tx: Tx, business_id: str, channel_account_id: str, page_id: str) -> FormVersion | None:
    """The form of a chat (R40, R41): the ad's own version, else the latest of the account's default form."""
    version = find_published(tx, business_id, page_id)
    if version is not None:
        return version
    form_id = defaults.list_default_forms(tx, business_id).get(channel_account_id)
    return store.find_latest_version(tx, business_id, form_id) if form_id else None


def find_published(tx: Tx, business_id: str, page_id: str) -> FormVersion | None:
    """A published version by the text of its ``page_id``; None for one that is not ours."""
    number = read_number(page_id)
    return None if number is None else store.find_version(tx, business_id, number)


def create_test_lead(tx: Tx, business_id: str, version: FormVersion | None) -> Lead:
    """Make the test lead of a form, or of the chat with None; where there is one it stays as it is.

    It travels like any lead, to each list, subscription and CRM, marked as a test, and counts in no report.
    """
    known = find_test_lead(tx, business_id, version)
    if known is not None:
        return known
    number = version.number if version else 0
    if version:
        contacts = list(contacts_of(sample_answers(version.content, number)))
    else:
        contacts = detect_contacts(f"{sample_email(number)} {sample_phone(number)}", "US")
    signal = Signal(
        business_id=business_id,
        person_id=_test_person(business_id, version),
        channel_account_id="",
        conversation_id="",
        origin=Origin.FORM if version else Origin.CHAT,
        source_id=f"test:{number}",
        at=tx.now,
        contacts=tuple(contacts),
        stated_name=TEST_NAME,
        profile_name="",
        is_test=True,
    )
    lead = leads.upsert_lead(tx, signal) or leads.mark_as_lead(tx, signal)
    emit(tx, business_id, TestLeadMade(business_id, lead.id, number))
    return lead


def find_test_lead(tx: Tx, business_id: str, version: FormVersion | None) -> Lead | None:
    """The test lead of a form, or of the chat."""
    return find_lead_of_person(tx, business_id, _test_person(business_id, version))


def _test_person(business_id: str, version: FormVersion | None) -> str:
    return named_id(business_id, f"test:{version.number if version else 0}")


def forget_answers(tx: Tx, gone: Gone) -> set[str]:
    """Delete what persons answered; what they agreed to stays on record without them."""
    store.delete_answers_of(tx, gone.business_id, gone.lead_ids, gone.person_ids)
    return set()
