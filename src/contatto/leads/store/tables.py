"""Tables of leads, with what members and jobs add to them."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    Float,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    literal_column,
)

from contatto.capture.model import Field
from contatto.kit.db.tx import Choice, Words, instant, key, metadata, only, sealed, tenant, text
from contatto.leads.model import HistoryKind, ItemState, JobKind, LeadJobState, LeadStatus, Origin


def _of_listed(name: str, *columns: str) -> Index:
    """Return an index of the leads that are in the lists, in this order.

    PostgreSQL takes no order from an index that has ``hidden_at`` before it, so the hidden ones are left out
    of the index. The column stands at its end, because SQLite reads the row for it otherwise.
    """
    shown: Any = literal_column("hidden_at IS NULL")
    return Index(name, "business_id", *columns, "hidden_at", sqlite_where=shown, postgresql_where=shown)


leads = Table(
    "leads",
    metadata,
    key(),
    Column("number", BigInteger, nullable=False, unique=True),
    tenant(),
    Column("person_id", String(36), nullable=False),
    Column("channel_account_id", String(36), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    sealed("name", nullable=True),
    Column("status", Choice(LeadStatus), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    text("name_key", default=""),
    Column("owner_id", String(36)),
    instant("hidden_at", nullable=True),
    Column("merged_into", String(36)),
    Column("is_test", Boolean, nullable=False, server_default=literal_column("FALSE")),
    text("facets", default=""),
    Column("score", Integer, nullable=False, server_default=literal_column("-1")),
    instant("erased_at", nullable=True),
    text("erased_by", default=""),
    UniqueConstraint("business_id", "person_id"),
    _of_listed("ix_leads_by_creation", "created_at", "id", "status", "owner_id", "facets"),
    _of_listed("ix_leads_by_activity", "updated_at", "id"),
    _of_listed("ix_leads_by_status", "status", "created_at", "id"),
    _of_listed("ix_leads_by_name", "name_key", "id"),
    _of_listed("ix_leads_by_score", "score", "id"),
    _of_listed("ix_leads_by_owner", "owner_id"),
    _of_listed("ix_leads_by_facets", "facets", "status", "owner_id"),
    _of_listed("ix_leads_listed", "id"),
    Index("ix_leads_merged", "business_id", "merged_into", **only("merged_into IS NOT NULL")),
)

contact_points = Table(
    "contact_points",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("field", Choice(Field), nullable=False),
    sealed("value"),
    Column("value_index", LargeBinary(16), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    Column("country", String(2)),
    instant("main_at", nullable=True),
    instant("wrong_at", nullable=True),
    UniqueConstraint("business_id", "lead_id", "field", "value_index"),
    Index("ix_contact_points_of_country", "business_id", "country", **only("country IS NOT NULL")),
    Index("ix_contact_points_of_value", "business_id", "value_index", "lead_id"),
)

evidence = Table(
    "evidence",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("contact_point_id", String(36), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    Column("source_id", String(64), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    sealed("raw"),
    Column("rule", String(64), nullable=False),
    Column("confidence", Float, nullable=False),
    instant("at"),
    UniqueConstraint("business_id", "contact_point_id", "source_id", "start"),
    Index("ix_evidence_business_id_lead_id", "business_id", "lead_id"),
)

lead_history = Table(
    "lead_history",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("what", Choice(HistoryKind), nullable=False),
    sealed("detail", nullable=True),
    text("actor"),
    instant("at"),
    Index("ix_lead_history_business_id_lead_id", "business_id", "lead_id", "at"),
)

rejected_contacts = Table(
    "rejected_contacts",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("person_id", String(36), nullable=False),
    sealed("content"),
    instant("at"),
    Index("ix_rejected_contacts_of_lead", "business_id", "lead_id"),
    Index("ix_rejected_contacts_at", "at"),
)

lead_scores = Table(
    "lead_scores",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("lead_id", String(36), primary_key=True),
    Column("score", Integer, nullable=False),
    Column("reasons", Words, nullable=False),
    instant("scored_at"),
    Column("log_odds", Float),
    Column("is_counted", Boolean, nullable=False, server_default=literal_column("FALSE")),
    Index("ix_lead_scores_score", "business_id", "score"),
)

labels = Table(
    "labels",
    metadata,
    key(),
    tenant(),
    Column("name", String(40), nullable=False),
    Column("name_key", String(80), nullable=False),
    Column("tone", Integer, nullable=False),
    UniqueConstraint("business_id", "name_key"),
)

lead_labels = Table(
    "lead_labels",
    metadata,
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("label_id", String(36), nullable=False),
    PrimaryKeyConstraint("business_id", "lead_id", "label_id"),
    Index("ix_lead_labels_of_label", "business_id", "label_id", "lead_id"),
)

lead_notes = Table(
    "lead_notes",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    sealed("body"),
    text("author"),
    Column("revision", Integer, nullable=False),
    instant("created_at"),
    instant("edited_at", nullable=True),
    Index("ix_lead_notes_of_lead", "business_id", "lead_id", "created_at"),
)

lead_tasks = Table(
    "lead_tasks",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    sealed("body"),
    Column("due_on", Date),
    Column("revision", Integer, nullable=False),
    text("created_by"),
    instant("created_at"),
    text("done_by"),
    instant("done_at", nullable=True),
    Index("ix_lead_tasks_of_lead", "business_id", "lead_id", "created_at"),
)

lead_views = Table(
    "lead_views",
    metadata,
    key(),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("name", String(60), nullable=False),
    sealed("query"),
    Column("is_shared", Boolean, nullable=False),
    Column("is_pinned", Boolean, nullable=False),
    instant("created_at"),
    Index("ix_lead_views_business_id", "business_id", "created_at"),
)

lead_entries = Table(
    "lead_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("form_id", String(36), nullable=False),
    text("form_name"),
    Column("version", Integer, nullable=False),
    Column("consented", Boolean, nullable=False),
    instant("at"),
    Index("ix_lead_entries_of_lead", "business_id", "lead_id"),
    Index("ix_lead_entries_of_form", "business_id", "form_id", "at"),
)

lead_merges = Table(
    "lead_merges",
    metadata,
    key(),
    tenant(),
    Column("kept_id", String(36), nullable=False),
    Column("merged_id", String(36), nullable=False),
    text("actor"),
    sealed("reason", nullable=True),
    sealed("journal"),
    instant("at"),
    text("undone_by"),
    instant("undone_at", nullable=True),
    Index("ix_lead_merges_kept", "business_id", "kept_id"),
    Index("ix_lead_merges_merged", "business_id", "merged_id"),
)

lead_looks = Table(
    "lead_looks",
    metadata,
    Column("member_id", String(36), primary_key=True),
    tenant(),
    Column("shown", Words, nullable=False),
    Column("is_dense", Boolean, nullable=False),
)

lead_models: Final = Table(
    "lead_models",
    metadata,
    Column("business_id", String(36), primary_key=True),
    instant("learned_at"),
    Column("outcomes", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("loss", Float, nullable=False),
    Column("correction", LargeBinary, nullable=False),
    sealed("body"),
    Column("held", LargeBinary),
)

IS_OPEN: Final[ColumnElement[bool]] = literal_column("state <> 'done'")

lead_jobs = Table(
    "lead_jobs",
    metadata,
    key(),
    tenant(),
    Column("kind", Choice(JobKind), nullable=False),
    Column("state", Choice(LeadJobState), nullable=False),
    Column("member_id", String(36), nullable=False),
    text("actor"),
    sealed("plan"),
    Column("value", String(36), nullable=False),
    Column("cursor", String(36), nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("undo_of", String(36)),
    Column("undone_by", String(36)),
    instant("created_at"),
    instant("moved_at"),
    instant("ended_at", nullable=True),
    Index("ix_lead_jobs_business_id", "business_id", "created_at"),
    Index("ix_lead_jobs_open", "business_id", "state", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
)

lead_job_items = Table(
    "lead_job_items",
    metadata,
    tenant(),
    Column("job_id", String(36), nullable=False),
    Column("position", Integer, nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("state", Choice(ItemState), nullable=False),
    text("before"),
    text("after"),
    text("reason"),
    PrimaryKeyConstraint("business_id", "job_id", "position"),
)
