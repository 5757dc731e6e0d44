"""What tests ask of the counts."""

from contatto.kit.db.tx import Tx
from contatto.reports.engines.counted import Wanted, load_counted
from contatto.reports.model import Counts, Grain, Span


def hours_of(tx: Tx, mine: tuple[str, str], span: Span) -> dict[str, Counts]:
    """The counts of an account by its hours."""
    return load_counted(tx, *mine, span, Wanted(Grain.AD_DAY, hours=Grain.ACCOUNT_HOUR)).hours
