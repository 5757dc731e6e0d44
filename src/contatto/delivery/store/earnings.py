"""What ad groups were charged and earned lately."""

from collections.abc import Collection

from sqlalchemy import func, select

from contatto.delivery.store.ledger import charged_days
from contatto.kit.db.tx import Tx
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions


def list_charged_since(tx: Tx, business_id: str, ad_group_ids: Collection[str], day: str) -> dict[str, int]:
    """Micros that ad groups were charged from a day on (``YYYY-MM-DD``)."""
    table = charged_days
    mine = table.c.business_id == business_id, table.c.ad_group_id.in_(sorted(ad_group_ids))
    spent = select(table.c.ad_group_id, func.sum(table.c.charged_micros)).where(*mine, table.c.day >= day)
    rows = tx.execute(spent.group_by(table.c.ad_group_id))
    return {name: int(amount) for name, amount in map(tuple, rows)}


def list_earned_since(
    tx: Tx, business_id: str, ad_account_id: str, day: str
) -> dict[tuple[str, ConversionKind], int]:
    """Conversions that ad groups of an account earned from a day on, by ad group and kind."""
    table = conversions
    mine = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    stands = table.c.withdrawn_at.is_(None), table.c.day >= day
    wanted = select(table.c.ad_group_id, table.c.kind, func.count()).where(*mine, *stands)
    rows = tx.execute(wanted.group_by(table.c.ad_group_id, table.c.kind))
    return {(name, kind): int(count) for name, kind, count in map(tuple, rows)}
