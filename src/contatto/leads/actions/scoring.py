"""Scoring the leads of all businesses: new ones each hour, and each night with what was learned anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from contatto.accounts.store import list_businesses
from contatto.kit.confined import Confined
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger
from contatto.kit.work import PeriodicStudy, Study
from contatto.leads.engines.learning import Answered, Asked, Given, score_round
from contatto.leads.engines.trees import prepare_trees
from contatto.leads.model.scores import LeadModel, LeadScore, ScoredLead
from contatto.leads.rules.drift import Correction
from contatto.leads.rules.scoring import is_enough
from contatto.leads.store.models import find_lead_model, save_lead_model
from contatto.leads.store.scores import list_leads_to_score, save_scores

EVERY_S: Final = 3_600.0
_LOOK_BACK: Final = timedelta(days=180)
MOST: Final = 5_000
"""So many leads of a business are learned from and scored, the newest."""
_OLD: Final = timedelta(hours=20)
"""A model of yesterday, whatever the hour at which it was learned."""
_CLOCK_S: Final = 600.0
_PROCESSOR_S: Final = 120
"""Some ten times what so many leads need."""


@dataclass(slots=True)
class LeadScorer:
    """Goes through the businesses one by one; what one business says never teaches the model of another."""

    _turns: Iterator[str] = field(default_factory=lambda: iter(()))
    _is_begun: bool = False

    def start_over(self) -> None:
        """Begin a round."""
        self._is_begun = False

    def read_next(self, tx: Tx) -> Study | None:
        """What the next business with something new asks to have learned or scored; None at the end."""
        if not self._is_begun:
            self._turns, self._is_begun = iter([str(each.id) for each in list_businesses(tx)]), True
        for business_id in self._turns:
            model = find_lead_model(tx, business_id)
            leads = list_leads_to_score(tx, business_id, tx.now - _LOOK_BACK, MOST)
            is_old = model is None or model.learned_at <= tx.now - _OLD
            if is_old and _can_learn(leads, model):
                return _study(business_id, leads, None, _correction(model))
            if model is not None and _has_news(leads):
                return _study(business_id, leads, model, _correction(model))
        return None


def scoring_study() -> PeriodicStudy:
    """The work by the clock that does it: one process, which ends after each round."""
    scorer = LeadScorer()
    confined = partial(Confined, 1, _CLOCK_S, _PROCESSOR_S, prepare_trees)
    return PeriodicStudy(EVERY_S, scorer.start_over, scorer.read_next, score_round, confined)


def _can_learn(leads: list[ScoredLead], model: LeadModel | None) -> bool:
    """Whether enough is known, and anything that the model before did not know."""
    came = [each.is_good for each in leads if each.is_good is not None]
    return is_enough(came) and (model is None or model.outcomes != len(came) or _has_news(leads))


def _has_news(leads: list[ScoredLead]) -> bool:
    return any(each.said is None or (each.is_good is not None and not each.is_counted) for each in leads)


def _correction(model: LeadModel | None) -> Correction:
    return msgspec.json.decode(model.correction, type=Correction) if model else Correction()


def _study(
    business_id: str, leads: list[ScoredLead], model: LeadModel | None, correction: Correction
) -> Study:
    asked = Asked(leads, model.body if model else b"", correction)
    return Study(msgspec.json.encode(asked), partial(_keep, business_id, model))


def _keep(business_id: str, before: LeadModel | None, raw: bytes, tx: Tx) -> None:
    """Keep what a round gave: a new model, or how the one before errs, and the scores that changed."""
    answer = msgspec.json.decode(raw, type=Answered)
    correction = msgspec.json.encode(answer.correction)
    if (new := answer.learned) is not None:
        model = LeadModel(
            business_id, tx.now, new.outcomes, new.share, new.loss, correction, new.model, new.held
        )
        save_lead_model(tx, model)
        if not new.has_trees:
            logger().warning(
                "leads.scored_without_trees", says="LightGBM cannot be loaded: is libgomp there?"
            )
    elif before is not None:
        save_lead_model(tx, replace(before, correction=correction))
    save_scores(tx, [_score(business_id, tx, each) for each in answer.scores])


def _score(business_id: str, tx: Tx, given: Given) -> LeadScore:
    return LeadScore(
        business_id, given.lead_id, given.score, given.reasons, tx.now, given.log_odds, given.is_counted
    )
