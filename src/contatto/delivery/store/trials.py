"""Counts of the trial that measures what delivery brings: by ad group, day and group of viewers."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, func, select

from contatto.delivery.model.trials import TrialDay
from contatto.kit.db.prepared import insert_rows
from contatto.kit.db.tx import Tx, insert_for
from contatto.kit.db.types import metadata, row_of

_COUNTS = ("views", "clicks", "charged_micros", "conversations", "leads")

trials = Table(
    "delivery_trials",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_group_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS),
    Index("ix_delivery_trials_day", "day"),
)


@cache
def _add_to_days(dialect: str) -> Any:
    insert = insert_for(dialect, trials)
    more = {name: trials.c[name] + insert.excluded[name] for name in _COUNTS}
    keys = ["business_id", "ad_group_id", "day", "trial"]
    return insert.on_conflict_do_update(index_elements=keys, set_=more)


def save_trial_days(tx: Tx, counted: Sequence[TrialDay]) -> None:
    """Add to what was counted; each day of an ad group and a group of viewers comes once."""
    if counted:
        insert_rows(
            tx, _add_to_days(tx.connection.dialect.name), [row_of(trial_day) for trial_day in counted]
        )


def list_trials(tx: Tx, business_id: str, ad_group_ids: Collection[str], since: str) -> list[TrialDay]:
    """What was counted of ad groups from a day on, in sum for each group of viewers; the day is empty."""
    sums = [func.sum(trials.c[name]).label(name) for name in _COUNTS]
    query = (
        select(trials.c.ad_group_id, trials.c.trial, *sums)
        .where(
            trials.c.business_id == business_id,
            trials.c.ad_group_id.in_(sorted(ad_group_ids)),
            trials.c.day >= since,
        )
        .group_by(trials.c.ad_group_id, trials.c.trial)
    )
    return [
        TrialDay(business_id, ad_group_id, "", trial, *map(int, counts))
        for ad_group_id, trial, *counts in map(tuple, tx.execute(query))
    ]


def delete_old_trials(tx: Tx, before: str) -> int:
    """Delete some counts of days before one; say how many."""
    return tx.delete_some(trials, trials.c.day < before)
