"""How estimates did, and what they go by: kept as the learner goes on, and read for people."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from contatto.ads.store import list_accounts_of_ad_groups
from contatto.delivery.model.foretold import Curve, Question, Tally
from contatto.delivery.predict.foretold import Key
from contatto.delivery.rules.foretelling import add_tallies, curve_of
from contatto.delivery.store import foretold
from contatto.kit.db.tx import Tx

KEPT: Final = timedelta(days=90)
SHOWN_DAYS: Final = 28
WAIT_DAYS: Final = {Question.CLICK: 0, Question.CONVERSATION: 1, Question.LEAD: 3, Question.SPAM: 3}
"""So many of the newest days are left out: what comes of them may still come."""


def keep_told(tx: Tx, business_id: str, told: Mapping[Key, Tally]) -> None:
    """Add what a learner counted by ad group to what is kept by ad account."""
    accounts = list_accounts_of_ad_groups(tx, business_id, {number for number, _, _ in told})
    by_account: dict[foretold.Key, list[Tally]] = {}
    for (number, day, question), tally in told.items():
        by_account.setdefault((accounts.get(number, ""), day, question), []).append(tally)
    foretold.save_told(tx, business_id, {key: add_tallies(some) for key, some in by_account.items()})


def list_curves(
    tx: Tx, business_id: str, ad_account_ids: Sequence[str] | None, days: int = SHOWN_DAYS
) -> list[Curve]:
    """Return how estimates of the last days did, by question, in the order of questions.

    Args:
        tx: the transaction.
        business_id: whose ads.
        ad_account_ids: of these ad accounts alone; None for all.
        days: so many are told, behind those that are waited for.
    """
    first = tx.now.date() - timedelta(days=days + max(WAIT_DAYS.values()))
    told = foretold.list_told(tx, business_id, first.isoformat(), ad_account_ids)
    curves = []
    for question, wait in WAIT_DAYS.items():
        last = tx.now.date() - timedelta(days=wait)
        since, until = (last - timedelta(days=days - 1)).isoformat(), last.isoformat()
        curve = curve_of(question, [each for each in told if since <= each.day <= until])
        if curve is not None:
            curves.append(curve)
    return curves


def purge_told(tx: Tx) -> int:
    """Delete some counts that are too old to be shown; say how many."""
    return foretold.delete_old_told(tx, (tx.now - KEPT).date().isoformat())
