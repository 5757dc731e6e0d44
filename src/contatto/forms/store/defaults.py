"""Default forms: that of a channel account, for chats to which no ad brings its own."""

from sqlalchemy import Column, Index, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import metadata, tenant

default_forms = Table(
    "default_forms",
    metadata,
    Column("channel_account_id", String(36), primary_key=True),
    tenant(),
    Column("form_id", String(36), nullable=False),
    Index("ix_default_forms_business_id", "business_id"),
)


def save_default_form(tx: Tx, business_id: str, channel_account_id: str, form_id: str) -> None:
    """Set the form of a channel account's chats where no ad brings its own."""
    row = {"channel_account_id": channel_account_id, "business_id": business_id, "form_id": form_id}
    insert = tx.upsert(default_forms).values(**row)
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=["channel_account_id"],
            set_={"form_id": form_id},
            where=default_forms.c.business_id == business_id,
        )
    )


def delete_default_form(tx: Tx, business_id: str, channel_account_id: str) -> None:
    tx.execute(
        default_forms.delete().where(
            default_forms.c.business_id == business_id,
            default_forms.c.channel_account_id == channel_account_id,
        )
    )


def list_default_forms(tx: Tx, business_id: str) -> dict[str, str]:
    """The id of the default form by channel account."""
    mine = select(default_forms).where(default_forms.c.business_id == business_id)
    return {row["channel_account_id"]: row["form_id"] for row in tx.execute(mine).mappings()}
