"""Evaluating delivery by its own log: were estimates right, and would another model have done better."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contatto.delivery.actions.packing import read_lines, read_record
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.model.log import EntryKind, Record
from contatto.delivery.predict.evaluated import STAGES, Weighed, weigh_record
from contatto.delivery.predict.replica import Replica
from contatto.delivery.rules.columns import CLICK, CONVERSATION, LEAD, SPAM
from contatto.delivery.rules.evaluating import (
    Floats,
    Judged,
    Value,
    doubly_robust,
    effective_count,
    inverse_propensity,
    judge_estimates,
    self_normalized,
)
from contatto.delivery.store import log as entries
from contatto.delivery.store import models
from contatto.kit.db.tx import Tx

AT_ONCE: Final = 500
QUESTIONS: Final = {
    "click": (CLICK, EntryKind.VIEW, EntryKind.CLICK),
    "conversation": (CONVERSATION, EntryKind.CLICK, EntryKind.CONVERSATION),
    "lead": (LEAD, EntryKind.CONVERSATION, EntryKind.LEAD),
    "spam": (SPAM, EntryKind.CONVERSATION, EntryKind.SPAM),
}
"""What is estimated: by which head, given what, and what came."""
_REWARDS: Final = (EntryKind.CLICK, EntryKind.CONVERSATION, EntryKind.LEAD)


@dataclass(frozen=True, slots=True)
class Choice:
    """What choosing as a model does would have brought for each decision, by three estimators."""

    logged: Value
    inverse: Value
    normalized: Value
    robust: Value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How the estimates of the log did, by question, and what a model would have chosen, by stage.

    ``effective`` says as how many decisions those count that the model would have made too.
    """

    decisions: int
    judged: dict[str, Judged]
    choices: dict[str, Choice] = field(default_factory=dict)
    effective: float = 0.0


def evaluate_log(
    tx: Tx, business_id: str, from_ts: int, until_ts: int, version: int = 0, most: int = 2_000
) -> Evaluation | None:
    """Judge the estimates of decisions in a span, and what a model would have chosen at the newest of them.

    Leads come late: end the span so long ago that what comes has come.

    Args:
        tx: the transaction.
        business_id: whose log it is.
        from_ts: first microsecond of the span.
        until_ts: the first after it.
        version: the model that is asked; 0 for none.
        most: at so many decisions at most the model is asked.

    Returns:
        None when the model is not kept.
    """
    raw = models.load_model(tx, business_id, version) if version else None
    if version and raw is None:
        return None
    log = _read_log(tx, business_id, from_ts, until_ts, most)
    judged = {}
    for name, (head, given, came) in QUESTIONS.items():
        asked = [nonce for nonce in log.estimates if (nonce, given) in log.happened]
        if asked:
            outcomes = np.array([(nonce, came) in log.happened for nonce in asked], np.float64)
            judged[name] = judge_estimates(
                np.array([log.estimates[nonce][head] for nonce in asked]), outcomes
            )
    if raw is None or not log.newest:
        return Evaluation(log.decisions, judged)
    replica = Replica(seed_of(business_id), version, raw)
    weighed = [weigh_record(replica, record) for record in log.newest]
    weights = np.array([each.weight for each in weighed])
    choices = {stage: _choice(place, log, weighed, weights) for place, stage in enumerate(STAGES)}
    return Evaluation(log.decisions, judged, choices, effective_count(weights))


def _choice(place: int, log: "_Log", weighed: list[Weighed], weights: Floats) -> Choice:
    rewards = np.array([(each.nonce, _REWARDS[place]) in log.happened for each in log.newest], np.float64)
    chosen = np.array([each.chosen[place] for each in weighed])
    expected = np.array([each.expected[place] for each in weighed])
    return Choice(
        inverse_propensity(rewards, np.ones(len(rewards))),
        inverse_propensity(rewards, weights),
        self_normalized(rewards, weights),
        doubly_robust(rewards, weights, chosen, expected),
    )


@dataclass(slots=True)
class _Log:
    """Decisions of a span: their estimates, the newest of them whole, and what became of impressions."""

    newest: deque[Record]
    decisions: int = 0
    estimates: dict[int, tuple[float, ...]] = field(default_factory=dict)
    happened: set[tuple[int, EntryKind]] = field(default_factory=set)


def _read_log(tx: Tx, business_id: str, from_ts: int, until_ts: int, most: int) -> _Log:
    found, lines = _Log(deque(maxlen=most)), dict[int, list[AdGroupLine | AdLine]]()
    for entry in entries.list_all_entries(tx, business_id, 0, AT_ONCE):
        if entry.kind is EntryKind.LINES:
            lines[entry.nonce] = read_lines(entry.body)
        elif entry.kind is not EntryKind.DECISION:
            found.happened.add((entry.nonce, entry.kind))
        elif from_ts <= entry.ts < until_ts:
            record = read_record(entry.body)
            record.added = record.added or lines.get(record.lines, [])
            found.decisions += 1
            found.newest.append(record)
            if record.ad:
                found.estimates[record.nonce] = record.p
    return found
