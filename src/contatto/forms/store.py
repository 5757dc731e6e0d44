"""Tables of forms, versions, answers, consents, bookings, default forms and pictures."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from contatto.forms.model import (
    Booking,
    ConsentReceipt,
    Content,
    Form,
    FormAnswer,
    FormVerdict,
    FormVersion,
    QuestionAnswer,
)
from contatto.kit.db.statements import PreparedQuery, Query, insert_all
from contatto.kit.db.tx import (
    Choice,
    JsonText,
    Tx,
    instant,
    key,
    metadata,
    row_of,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.kit.uploads import PictureTable

forms = sa.Table(
    "forms",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    text("name"),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("draft", JsonText(Content), nullable=False),
    text("edited_by"),
    instant("created_at"),
    instant("updated_at"),
    sa.Index("ix_forms_business_id", "business_id", "updated_at"),
)

form_versions = sa.Table(
    "form_versions",
    metadata,
    key(),
    tenant(),
    sa.Column("form_id", sa.String(36), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("version", sa.Integer, nullable=False),
    text("name"),
    sa.Column("content", JsonText(Content), nullable=False),
    text("published_by"),
    instant("published_at"),
    sa.UniqueConstraint("business_id", "form_id", "version"),
)

form_bookings = sa.Table(
    "form_bookings",
    metadata,
    tenant(),
    sa.Column("form_id", sa.String(36), nullable=False),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("answer_id", sa.String(36), nullable=False),
    instant("starts_at"),
    instant("ends_at"),
    sa.PrimaryKeyConstraint("business_id", "form_id", "starts_at"),
    sa.Index("ix_form_bookings_of_person", "business_id", "person_id"),
)

form_answers = sa.Table(
    "form_answers",
    metadata,
    key(),
    tenant(),
    sa.Column("form_id", sa.String(36), nullable=False),
    sa.Column("version_id", sa.String(36), nullable=False),
    sa.Column("language", sa.String(16), nullable=False),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("ad_id", sa.String(36)),
    sa.Column("verdict", Choice(FormVerdict), nullable=False),
    sa.Column("score", sa.Integer, nullable=False),
    sealed("body"),
    instant("at"),
    sa.Index("ix_form_answers_of_form", "business_id", "form_id", "at", "id"),
    sa.Index("ix_form_answers_of_lead", "business_id", "lead_id"),
    sa.Index("ix_form_answers_of_version", "business_id", "version_id", "at", "id"),
    sa.Index("ix_form_answers_of_person", "business_id", "person_id"),
)

consent_receipts = sa.Table(
    "consent_receipts",
    metadata,
    key(),
    tenant(),
    sa.Column("answer_id", sa.String(36), nullable=False),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),
    sa.Column("given", sa.Boolean, nullable=False),
    text("text"),
    sa.Column("text_hash", sa.String(64), nullable=False),
    text("policy_url"),
    sa.Column("language", sa.String(16), nullable=False),
    instant("at"),
    sa.UniqueConstraint("business_id", "answer_id", "purpose"),
    sa.Index("ix_consent_receipts_of_person", "business_id", "person_id"),
)

type AnswerCursor = tuple[datetime, str]
"""Time and id of the last answer of a page; the next page begins after it."""
_answers: Final = msgspec.json.Decoder(tuple[QuestionAnswer, ...])


def list_forms(tx: Tx, business_id: str) -> list[Form]:
    """Return the forms of a business, last changed first."""
    statement = sa.select(forms).where(forms.c.business_id == business_id)
    return tx.list(Form, statement.order_by(forms.c.updated_at.desc(), forms.c.id.desc()))


_OF_NUMBERS: Final = PreparedQuery(
    FormVersion,
    sa.select(form_versions).where(
        form_versions.c.business_id == sa.bindparam("of"), within(form_versions.c.number, "numbers")
    ),
)


def find_version(tx: Tx, business_id: str, number: int) -> FormVersion | None:
    return list_versions_by_number(tx, business_id, [number]).get(number)


def list_versions_by_number(tx: Tx, business_id: str, numbers: Collection[int]) -> dict[int, FormVersion]:
    versions = _OF_NUMBERS.list(tx, {"of": business_id, "numbers": numbers})
    return {version.number: version for version in versions}


def list_versions(tx: Tx, business_id: str, **key: Any) -> list[FormVersion]:
    """List published versions, newest first: all, or those of a ``form_id``, or of some ``id``s."""
    statement = sa.select(form_versions).where(*rows_of(form_versions, business_id, **key))
    latest_first = statement.order_by(form_versions.c.published_at.desc(), form_versions.c.id.desc())
    return tx.list(FormVersion, latest_first)


def append_answers(tx: Tx, answers: Iterable[FormAnswer]) -> None:
    rows = []
    for answer in answers:
        raw = msgspec.json.encode(answer.answers)
        body = tx.vault.seal_bytes(raw, answer.business_id, "form_answers.body", answer.id)
        rows.append(row_of(answer, without={"answers"}) | {"body": body})
    insert_all(tx, form_answers, rows)


_BY_ID: Final = Query(
    sa.select(form_answers).where(
        form_answers.c.business_id == sa.bindparam("of"), within(form_answers.c.id, "ids")
    )
)


def list_answers_by_id(tx: Tx, business_id: str, answer_ids: Collection[str]) -> list[FormAnswer]:
    rows = _BY_ID.rows(tx, {"of": business_id, "ids": answer_ids})
    names = form_answers.c.keys()
    return [_open_answer(tx, dict(zip(names, row, strict=True))) for row in rows]


def list_answers(
    tx: Tx, business_id: str, before: AnswerCursor | None = None, limit: int | None = 50, **key: Any
) -> list[FormAnswer]:
    """Return accepted answers, latest first, from a cursor on.

    ``key`` is their ``form_id`` or ``version_id``, or the ids of their leads as ``lead_id``.
    """
    accepted = rows_of(form_answers, business_id, verdict=FormVerdict.TAKEN, **key)
    statement = sa.select(form_answers).where(*accepted).limit(limit)
    if before is not None:
        at, answer_id = before
        older = (form_answers.c.at == at) & (form_answers.c.id < answer_id)
        statement = statement.where(sa.or_(form_answers.c.at < at, older))
    latest_first = statement.order_by(form_answers.c.at.desc(), form_answers.c.id.desc())
    return [_open_answer(tx, row) for row in tx.execute(latest_first).mappings()]


def list_answers_of_leads(tx: Tx, business_id: str, lead_ids: set[str]) -> defaultdict[str, list[FormAnswer]]:
    """Return all answers of some leads, by lead, latest first."""
    answers: defaultdict[str, list[FormAnswer]] = defaultdict(list)
    for answer in list_answers(tx, business_id, limit=None, lead_id=lead_ids):
        answers[answer.lead_id].append(answer)
    return answers


def count_answers(tx: Tx, business_id: str) -> dict[str, dict[FormVerdict, int]]:
    counted = sa.select(form_answers.c.form_id, form_answers.c.verdict, sa.func.count().label("n"))
    grouped = counted.where(form_answers.c.business_id == business_id)
    counts: dict[str, dict[FormVerdict, int]] = {}
    for row in tx.execute(grouped.group_by(form_answers.c.form_id, form_answers.c.verdict)).mappings():
        counts.setdefault(row["form_id"], {})[row["verdict"]] = row["n"]
    return counts


def _open_answer(tx: Tx, row: Mapping[Any, Any]) -> FormAnswer:
    """Decrypt an answer, and record the read of contact data."""
    values = {name: row[name] for name in FormAnswer.__dataclass_fields__ if name != "answers"}
    raw = tx.vault.open_bytes(row["body"], row["business_id"], "form_answers.body", row["id"])
    answers = _answers.decode(raw)
    tx.record_contact_reads(
        *(("lead_id", (row["lead_id"],)) if row["lead_id"] else ("answer_id", (row["id"],)))
    )
    return FormAnswer(**values, answers=answers)


_SENT: Final = Query(
    sa.select(form_answers.c.form_id, form_answers.c.person_id)
    .where(
        *rows_of(form_answers, sa.bindparam("of"), verdict=FormVerdict.TAKEN),
        within(form_answers.c.person_id, "people"),
        within(form_answers.c.form_id, "forms"),
    )
    .distinct()
)


def list_who_sent(
    tx: Tx, business_id: str, form_ids: Collection[str], person_ids: Collection[str]
) -> set[tuple[str, str]]:
    """Return (form, person) pairs with an accepted answer in any version."""
    rows = _SENT.rows(tx, {"of": business_id, "people": person_ids, "forms": form_ids})
    return {(form_id, person_id) for form_id, person_id in rows}


def list_receipts(tx: Tx, business_id: str, answer_ids: set[str]) -> dict[str, list[ConsentReceipt]]:
    """Return consent receipts by answer, ordered by purpose."""
    statement = sa.select(consent_receipts).where(
        consent_receipts.c.business_id == business_id, consent_receipts.c.answer_id.in_(answer_ids)
    )
    receipts: dict[str, list[ConsentReceipt]] = {}
    for receipt in tx.list(ConsentReceipt, statement.order_by(consent_receipts.c.purpose)):
        receipts.setdefault(receipt.answer_id, []).append(receipt)
    return receipts


def list_receipts_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[ConsentReceipt]:
    """Return the consent receipts of a lead, given or not, oldest first."""
    answers = sa.select(form_answers.c.id).where(*rows_of(form_answers, business_id, lead_id=lead_id))
    statement = sa.select(consent_receipts).where(consent_receipts.c.business_id == business_id)
    of_lead = statement.where(consent_receipts.c.answer_id.in_(answers))
    return tx.list(ConsentReceipt, of_lead.order_by(consent_receipts.c.at, consent_receipts.c.purpose))


def list_bookings(
    tx: Tx, business_id: str, form_ids: Collection[str], since: datetime
) -> dict[str, tuple[Booking, ...]]:
    """Return the bookings of forms that end after ``since``, by form, soonest first."""
    statement = sa.select(form_bookings).where(
        form_bookings.c.business_id == business_id,
        form_bookings.c.form_id.in_(form_ids),
        form_bookings.c.ends_at > since,
    )
    rows = tx.list(Booking, statement.order_by(form_bookings.c.starts_at)) if form_ids else []
    return {form_id: tuple(row for row in rows if row.form_id == form_id) for form_id in form_ids}


default_forms = sa.Table(
    "default_forms",
    metadata,
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("form_id", sa.String(36), nullable=False),
    sa.Index("ix_default_forms_business_id", "business_id"),
)


def list_default_forms(tx: Tx, business_id: str) -> dict[str, str]:
    statement = sa.select(default_forms).where(default_forms.c.business_id == business_id)
    return {row["channel_account_id"]: row["form_id"] for row in tx.execute(statement).mappings()}


def match_shown_pictures(pictures: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition for a picture that a draft or a version shows."""
    own, digest = pictures.c.business_id, pictures.c.digest
    draft, content = (sa.type_coerce(column, sa.Text) for column in (forms.c.draft, form_versions.c.content))
    in_draft = sa.exists().where(forms.c.business_id == own, draft.contains(digest))
    return in_draft | sa.exists().where(form_versions.c.business_id == own, content.contains(digest))


form_pictures: Final = PictureTable("form_pictures", match_shown_pictures)
