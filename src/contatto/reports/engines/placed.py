"""Facts of the placements of marketplaces, as they were counted with each charge."""

from contatto.kit.db.tx import Tx
from contatto.operators.store import list_placed_days_of_account
from contatto.reports.model import Counts, Fact, Span


def list_placed_facts(tx: Tx, business_id: str, ad_account_id: str, span: Span) -> list[Fact]:
    """Counts by ad group, day and placement, of what was shown in placements of marketplaces."""
    first, last = span.first or "", span.last or "9999-99-99"
    return [
        Fact(
            placed_day.ad_group_id,
            placed_day.day,
            Counts(
                placed_day.charged_micros,
                placed_day.views,
                placed_day.clicks,
                placed_day.conversations,
                placed_day.leads,
            ),
            placement=placed_day.placement_id,
        )
        for placed_day in list_placed_days_of_account(tx, business_id, ad_account_id, first, last)
    ]
