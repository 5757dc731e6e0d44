"""What ads cost and brought in the placements of marketplaces, beside the page of all ads."""

from collections import defaultdict
from dataclasses import dataclass, replace

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.kit.db.tx import Tx
from contatto.reports.engines.placed import list_placed_facts
from contatto.reports.model import Counts, Figures, Span
from contatto.reports.rules.sources import Source, SourceLook


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A placement (its id, and its name once that is known), in one currency: two are never added up."""

    placement: str
    currency: str
    figures: Figures
    name: str = ""


def load_placed(tx: Tx, business_id: str, look: SourceLook) -> list[PlacedRow]:
    """Our ads by placement on some days, the dearest first; nothing where other platforms are asked for."""
    if look.source not in (None, Source.OURS):
        return []
    span = Span(look.first.isoformat(), look.last.isoformat())
    sums: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
    for account in accounts.list_ad_accounts(tx, BusinessId(business_id)):
        for fact in list_placed_facts(tx, business_id, account.id, span):
            sums[fact.placement, account.currency] += fact.counts
    rows = [PlacedRow(*key, Figures(counts, frozenset())) for key, counts in sums.items()]
    return sorted(rows, key=lambda row: (row.currency, -row.figures.counts.spend_micros, row.placement))


def name_placed(rows: list[PlacedRow], names: dict[str, str]) -> list[PlacedRow]:
    """The rows with the names of their placements."""
    return [replace(row, name=names.get(row.placement, "")) for row in rows]
