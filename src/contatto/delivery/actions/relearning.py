"""Learning files of decisions again each night, in a process of its own; what foretells worse is not used.

Three steps for a business: it is noted that it begins; days are learned without the newest ones, which then
judge the weights beside what served; and only if these did no worse all days are learned and published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from contatto.accounts.store import list_businesses
from contatto.delivery.actions.nightly import (
    Held,
    Span,
    judge_files,
    prepare_relearning,
    publish_relearned,
    relearn_files,
)
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.engines.computing import Embedded
from contatto.delivery.model.relearnings import Compared, Relearning, Stage
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.nightly import Weights, weights_of
from contatto.delivery.predict.replica import new_marketplace
from contatto.delivery.rules.judging import judge_again
from contatto.delivery.store import files, models
from contatto.delivery.store.relearnings import find_relearning, save_relearning
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.sandbox import LongProcess
from contatto.kit.settings import Settings
from contatto.kit.timestamps import micros

EVERY_S: Final = 900.0
NIGHT_HOUR: Final = 2
"""UTC; what is missed then is done as soon as a worker runs."""
DAYS: Final = 90
HELD_DAYS: Final = 2
"""So many days judge, …"""
WAIT_DAYS: Final = 3
"""… and so many newer ones do not, as what comes of them may still come."""
LEAST_ENTRIES: Final = 50_000
"""With fewer the learner itself keeps all of it in memory, and goes through it again and again."""
MOST_ENTRIES: Final = 20_000_000
"""Joining more takes too long on one machine; they are for `contatto model relearn` with Spark."""
_CLOCK_S: Final = 4 * 3_600.0


class Ask(msgspec.Struct, frozen=True):
    """What a process is to do: judge the days of a span, or learn all; nothing, without ``saved``."""

    seed: int = 0
    saved: bytes = b""
    sources: list[str] = []
    from_ts: int = 0
    until_ts: int = 0
    as_of_ts: int = 0
    is_judging: bool = False


class Found(msgspec.Struct, frozen=True):
    """What it found: the views that it learned, and how these weights did, or the weights."""

    views: int = 0
    compared: list[Compared] = []
    weights: Weights | None = None


def relearn_apart(raw: bytes) -> bytes:
    """Do what an `Ask` says; the answer is a `Found`."""
    ask = msgspec.msgpack.decode(raw, type=Ask)
    if not ask.saved:
        return msgspec.msgpack.encode(Found())
    marketplace = new_marketplace(ask.seed)
    marketplace.restore(ask.saved)
    market, sources = marketplace.market, [Path(source) for source in ask.sources]
    if ask.is_judging:
        return msgspec.msgpack.encode(_judge(ask, sources, market))
    relearned = relearn_files(Embedded(), sources, market, ask.as_of_ts)
    return msgspec.msgpack.encode(Found(relearned.examples, weights=weights_of(market)))


def _judge(ask: Ask, sources: list[Path], market: Market) -> Found:
    relearned = relearn_files(Embedded(), sources, market, ask.from_ts)
    span = Span(ask.from_ts, ask.until_ts, ask.as_of_ts)
    return Found(relearned.examples, compare_held(judge_files(Embedded(), sources, market, span)))


def compare_held(held: Held) -> list[Compared]:
    """What was learned again beside what was told at the time, by question."""
    return [
        Compared(name, each.count, round(each.came), each.log_loss, held.told[name].log_loss)
        for name, each in held.estimated.items()
    ]


def night_before(now: datetime) -> datetime:
    """Return when the latest night began."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight <= now else tonight - timedelta(days=1)


@dataclass(slots=True)
class Relearner:
    """Goes through the businesses one by one, each night once.

    Args:
        least: of a business with fewer entries in files nothing is learned again.
    """

    least: int = LEAST_ENTRIES
    _turns: Iterator[str] = field(default_factory=lambda: iter(()))
    _is_begun: bool = False
    _now: Relearning | None = None
    """What is under way; the process that broke left it as it was."""
    _asked: Stage | None = None

    def start_over(self) -> None:
        """Begin a round."""
        self._is_begun = False

    def read_next(self, tx: Tx) -> Study | None:
        """The next step: of what is under way, else of the next business that is due; None at the end."""
        if self._now is not None:
            return self._go_on(tx, self._now)
        if not self._is_begun:
            self._turns, self._is_begun = iter([str(business.id) for business in list_businesses(tx)]), True
        for business_id in self._turns:
            if self._is_due(tx, business_id):
                started = Relearning(business_id, tx.now, tx.now, Stage.JUDGING, 0, 0, ())
                return Study(msgspec.msgpack.encode(Ask()), partial(self._begin, started))
        return None

    def _is_due(self, tx: Tx, business_id: str) -> bool:
        last = find_relearning(tx, business_id)
        if last is not None and last.started_at >= night_before(tx.now):
            return False
        first_day = (tx.now - timedelta(days=DAYS)).date().isoformat()
        listed = files.list_decision_files_of(tx, business_id, first_day)
        entries = sum(each.entries for each in listed)
        return bool(models.find_newest_version(tx, business_id)) and self.least <= entries <= MOST_ENTRIES

    def _begin(self, started: Relearning, _answer: bytes, tx: Tx) -> None:
        save_relearning(tx, started)
        self._now, self._asked = started, None

    def _go_on(self, tx: Tx, now: Relearning) -> Study:
        if self._asked is now.stage:  # the process broke: nothing was kept of this step
            return self._end(now, Stage.BROKEN)
        self._asked = now.stage
        try:
            prepared = prepare_relearning(tx, now.business_id, DAYS)
        except OSError:
            return self._end(now, Stage.BROKEN)
        if prepared is None:
            return self._end(now, Stage.TOO_LITTLE)
        until = micros(tx.now) - WAIT_DAYS * models.DAY_US
        since, at = until - HELD_DAYS * models.DAY_US, micros(tx.now)
        sources = [str(source) for source in prepared.sources]
        ask = Ask(
            seed_of(now.business_id), prepared.saved, sources, since, until, at, now.stage is Stage.JUDGING
        )
        keep = self._keep_judged if now.stage is Stage.JUDGING else self._keep_learned
        return Study(msgspec.msgpack.encode(ask), partial(keep, now))

    def _end(self, now: Relearning, stage: Stage) -> Study:
        return Study(msgspec.msgpack.encode(Ask()), lambda _answer, tx: self._note(tx, now, stage))

    def _keep_judged(self, now: Relearning, answer: bytes, tx: Tx) -> None:
        found = msgspec.msgpack.decode(answer, type=Found)
        judged = replace(now, views=found.views, compared=tuple(found.compared))
        self._note(tx, judged, judge_again(found.compared))

    def _keep_learned(self, now: Relearning, answer: bytes, tx: Tx) -> None:
        found = msgspec.msgpack.decode(answer, type=Found)
        learned = replace(now, views=found.views)
        try:
            if found.weights is None:
                raise ValueError("there are no weights")
            model = publish_relearned(tx, now.business_id, found.weights)
        except Refused:
            self._note(tx, learned, Stage.OVERTAKEN)
        except ValueError:
            self._note(tx, learned, Stage.BROKEN)
        else:
            self._note(tx, replace(learned, version=model.version), Stage.PUBLISHED)

    def _note(self, tx: Tx, now: Relearning, stage: Stage) -> None:
        told = replace(now, stage=stage, told_at=tx.now)
        save_relearning(tx, told)
        self._now, self._asked = (told, None) if stage is Stage.LEARNING else (None, None)


def relearning_studies(settings: Settings) -> tuple[PeriodicStudy, ...]:
    """The work by the clock that does it: where decisions are kept in files, and it is not turned off."""
    if not (settings.relearn_at_night and settings.sealed_folder and settings.decision_files_days):
        return ()
    relearner = Relearner()
    study = PeriodicStudy(
        EVERY_S, relearner.start_over, relearner.read_next, relearn_apart, lambda: LongProcess(_CLOCK_S)
    )
    return (study,)
