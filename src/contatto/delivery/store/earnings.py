"""What ad groups were charged and earned lately."""

from collections.abc import Collection
from datetime import date
from typing import NamedTuple

from sqlalchemy import func, select

from contatto.delivery.store.ledger import charged_days
from contatto.kit.db.tx import Tx
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions


class Charged(NamedTuple):
    """What an ad group was charged, in micros, and on which day that began."""

    micros: int
    since: date


def list_charged_since(
    tx: Tx, business_id: str, ad_group_ids: Collection[str], day: date
) -> dict[str, Charged]:
    """What ad groups were charged from a day on; those that were not are left out."""
    table = charged_days
    mine = table.c.business_id == business_id, table.c.ad_group_id.in_(sorted(ad_group_ids))
    charged = table.c.day >= day.isoformat(), table.c.charged_micros > 0
    query = select(table.c.ad_group_id, func.sum(table.c.charged_micros), func.min(table.c.day))
    rows = tx.execute(query.where(*mine, *charged).group_by(table.c.ad_group_id))
    return {name: Charged(int(micros), date.fromisoformat(since)) for name, micros, since in map(tuple, rows)}


def list_earned_since(
    tx: Tx, business_id: str, ad_account_id: str, day: date
) -> dict[tuple[str, ConversionKind], int]:
    """Conversions that ad groups of an account earned from a day on, by ad group and kind."""
    table = conversions
    mine = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    stands = table.c.withdrawn_at.is_(None), table.c.day >= day.isoformat()
    query = select(table.c.ad_group_id, table.c.kind, func.count()).where(*mine, *stands)
    rows = tx.execute(query.group_by(table.c.ad_group_id, table.c.kind))
    return {(name, kind): int(count) for name, kind, count in map(tuple, rows)}
