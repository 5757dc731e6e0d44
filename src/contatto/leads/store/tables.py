"""Tables of leads, with what members and jobs add to them."""

from typing import Any, Final

import sqlalchemy as sa

from contatto.capture.model import Field
from contatto.kit.db.tx import Choice, Words, instant, key, metadata, only, sealed, tenant, text
from contatto.leads.model import HistoryKind, ItemState, JobKind, LeadJobState, LeadStatus, Origin


def _of_listed(name: str, *columns: str) -> sa.Index:
    """Return an index of the leads that are in the lists, in this order.

    PostgreSQL takes no order from an index that has ``hidden_at`` before it, so the hidden ones are left out
    of the index. The column stands at its end, because SQLite reads the row for it otherwise.
    """
    shown: Any = sa.literal_column("hidden_at IS NULL")
    return sa.Index(name, "business_id", *columns, "hidden_at", sqlite_where=shown, postgresql_where=shown)


leads = sa.Table(
    "leads",
    metadata,
    key(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    tenant(),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sealed("name", nullable=True),
    sa.Column("status", Choice(LeadStatus), nullable=False),
    sa.Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    text("name_key", default=""),
    sa.Column("owner_id", sa.String(36)),
    instant("hidden_at", nullable=True),
    sa.Column("merged_into", sa.String(36)),
    sa.Column("is_test", sa.Boolean, nullable=False, server_default=sa.literal_column("FALSE")),
    text("facets", default=""),
    sa.Column("score", sa.Integer, nullable=False, server_default=sa.literal_column("-1")),
    instant("erased_at", nullable=True),
    text("erased_by", default=""),
    sa.UniqueConstraint("business_id", "person_id"),
    _of_listed("ix_leads_by_creation", "created_at", "id", "status", "owner_id", "facets"),
    _of_listed("ix_leads_by_activity", "updated_at", "id"),
    _of_listed("ix_leads_by_status", "status", "created_at", "id"),
    _of_listed("ix_leads_by_name", "name_key", "id"),
    _of_listed("ix_leads_by_score", "score", "id"),
    _of_listed("ix_leads_by_owner", "owner_id"),
    _of_listed("ix_leads_by_facets", "facets", "status", "owner_id"),
    _of_listed("ix_leads_listed", "id"),
    sa.Index("ix_leads_merged", "business_id", "merged_into", **only("merged_into IS NOT NULL")),
)

contact_points = sa.Table(
    "contact_points",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("field", Choice(Field), nullable=False),
    sealed("value"),
    sa.Column("value_index", sa.LargeBinary(16), nullable=False),
    sa.Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    sa.Column("country", sa.String(2)),
    instant("main_at", nullable=True),
    instant("wrong_at", nullable=True),
    sa.UniqueConstraint("business_id", "lead_id", "field", "value_index"),
    sa.Index("ix_contact_points_of_country", "business_id", "country", **only("country IS NOT NULL")),
    sa.Index("ix_contact_points_of_value", "business_id", "value_index", "lead_id"),
)

evidence = sa.Table(
    "evidence",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("contact_point_id", sa.String(36), nullable=False),
    sa.Column("origin", Choice(Origin), nullable=False),
    sa.Column("source_id", sa.String(64), nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sealed("raw"),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    instant("at"),
    sa.UniqueConstraint("business_id", "contact_point_id", "source_id", "start"),
    sa.Index("ix_evidence_business_id_lead_id", "business_id", "lead_id"),
)

lead_history = sa.Table(
    "lead_history",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("what", Choice(HistoryKind), nullable=False),
    sealed("detail", nullable=True),
    text("actor"),
    instant("at"),
    sa.Index("ix_lead_history_business_id_lead_id", "business_id", "lead_id", "at"),
)

rejected_contacts = sa.Table(
    "rejected_contacts",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("person_id", sa.String(36), nullable=False),
    sealed("content"),
    instant("at"),
    sa.Index("ix_rejected_contacts_of_lead", "business_id", "lead_id"),
    sa.Index("ix_rejected_contacts_at", "at"),
)

lead_scores = sa.Table(
    "lead_scores",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("lead_id", sa.String(36), primary_key=True),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("reasons", Words, nullable=False),
    sa.Column("log_odds", sa.Float),
    sa.Column("is_counted", sa.Boolean, nullable=False, server_default=sa.literal_column("FALSE")),
    sa.Index("ix_lead_scores_score", "business_id", "score"),
)

labels = sa.Table(
    "labels",
    metadata,
    key(),
    tenant(),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("name_key", sa.String(80), nullable=False),
    sa.Column("tone", sa.Integer, nullable=False),
    sa.UniqueConstraint("business_id", "name_key"),
)

lead_labels = sa.Table(
    "lead_labels",
    metadata,
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("label_id", sa.String(36), nullable=False),
    sa.PrimaryKeyConstraint("business_id", "lead_id", "label_id"),
    sa.Index("ix_lead_labels_of_label", "business_id", "label_id", "lead_id"),
)

lead_notes = sa.Table(
    "lead_notes",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sealed("body"),
    text("author"),
    sa.Column("revision", sa.Integer, nullable=False),
    instant("created_at"),
    instant("edited_at", nullable=True),
    sa.Index("ix_lead_notes_of_lead", "business_id", "lead_id", "created_at"),
)

lead_tasks = sa.Table(
    "lead_tasks",
    metadata,
    key(),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sealed("body"),
    sa.Column("due_on", sa.Date),
    sa.Column("revision", sa.Integer, nullable=False),
    text("created_by"),
    instant("created_at"),
    text("done_by"),
    instant("done_at", nullable=True),
    sa.Index("ix_lead_tasks_of_lead", "business_id", "lead_id", "created_at"),
)

lead_views = sa.Table(
    "lead_views",
    metadata,
    key(),
    tenant(),
    sa.Column("member_id", sa.String(36), nullable=False),
    sa.Column("name", sa.String(60), nullable=False),
    sealed("query"),
    sa.Column("is_shared", sa.Boolean, nullable=False),
    sa.Column("is_pinned", sa.Boolean, nullable=False),
    instant("created_at"),
    sa.Index("ix_lead_views_business_id", "business_id", "created_at"),
)

lead_entries = sa.Table(
    "lead_entries",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    tenant(),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("form_id", sa.String(36), nullable=False),
    text("form_name"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("consented", sa.Boolean, nullable=False),
    instant("at"),
    sa.Index("ix_lead_entries_of_lead", "business_id", "lead_id"),
    sa.Index("ix_lead_entries_of_form", "business_id", "form_id", "at"),
)

lead_merges = sa.Table(
    "lead_merges",
    metadata,
    key(),
    tenant(),
    sa.Column("kept_id", sa.String(36), nullable=False),
    sa.Column("merged_id", sa.String(36), nullable=False),
    text("actor"),
    sealed("reason", nullable=True),
    sealed("journal"),
    instant("at"),
    text("undone_by"),
    instant("undone_at", nullable=True),
    sa.Index("ix_lead_merges_kept", "business_id", "kept_id"),
    sa.Index("ix_lead_merges_merged", "business_id", "merged_id"),
)

lead_looks = sa.Table(
    "lead_looks",
    metadata,
    sa.Column("member_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("shown", Words, nullable=False),
    sa.Column("is_dense", sa.Boolean, nullable=False),
)

lead_models: Final = sa.Table(
    "lead_models",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    instant("learned_at"),
    sa.Column("outcomes", sa.Integer, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("loss", sa.Float, nullable=False),
    sa.Column("correction", sa.LargeBinary, nullable=False),
    sealed("body"),
    sa.Column("held", sa.LargeBinary),
)

IS_OPEN: Final[sa.ColumnElement[bool]] = sa.literal_column("state <> 'done'")

lead_jobs = sa.Table(
    "lead_jobs",
    metadata,
    key(),
    tenant(),
    sa.Column("kind", Choice(JobKind), nullable=False),
    sa.Column("state", Choice(LeadJobState), nullable=False),
    sa.Column("member_id", sa.String(36), nullable=False),
    text("actor"),
    sealed("plan"),
    sa.Column("value", sa.String(36), nullable=False),
    sa.Column("cursor", sa.String(36), nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("undo_of", sa.String(36)),
    sa.Column("undone_by", sa.String(36)),
    instant("created_at"),
    instant("moved_at"),
    instant("ended_at", nullable=True),
    sa.Index("ix_lead_jobs_business_id", "business_id", "created_at"),
    sa.Index("ix_lead_jobs_open", "business_id", "state", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
)

lead_job_items = sa.Table(
    "lead_job_items",
    metadata,
    tenant(),
    sa.Column("job_id", sa.String(36), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("state", Choice(ItemState), nullable=False),
    text("before"),
    text("after"),
    text("reason"),
    sa.PrimaryKeyConstraint("business_id", "job_id", "position"),
)
