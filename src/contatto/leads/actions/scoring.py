"""Scoring the leads of all businesses: new ones each hour, and each night with what was learned anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from contatto.accounts.store import list_businesses
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger
from contatto.kit.sandbox import Confined
from contatto.leads.engines import Given, ScoringRequest, ScoringResult, prepare_trees, score_round
from contatto.leads.model import LeadModel, LeadScore, ScoredLead
from contatto.leads.rules.prediction import Correction
from contatto.leads.rules.scoring import is_enough
from contatto.leads.store.scores import find_lead_model, list_leads_to_score, save_lead_model, save_scores

EVERY_S: Final = 3_600.0
_SCORED_FOR: Final = timedelta(days=180)
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
        """Return the scoring request of the next business with news; None at the end."""
        if not self._is_begun:
            self._turns, self._is_begun = iter([str(business.id) for business in list_businesses(tx)]), True
        for business_id in self._turns:
            model = find_lead_model(tx, business_id)
            leads = list_leads_to_score(tx, business_id, tx.now - _SCORED_FOR, MOST)
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
    """Report whether there are enough outcomes, and any that the last model has not learned from."""
    outcomes = [lead.is_good for lead in leads if lead.is_good is not None]
    return is_enough(outcomes) and (model is None or model.outcomes != len(outcomes) or _has_news(leads))


def _has_news(leads: list[ScoredLead]) -> bool:
    return any(lead.said is None or (lead.is_good is not None and not lead.is_counted) for lead in leads)


def _correction(model: LeadModel | None) -> Correction:
    return msgspec.json.decode(model.correction, type=Correction) if model else Correction()


def _study(
    business_id: str, leads: list[ScoredLead], model: LeadModel | None, correction: Correction
) -> Study:
    request = ScoringRequest(leads, model.body if model else b"", correction)
    return Study(msgspec.json.encode(request), partial(_keep, business_id, model))


def _keep(business_id: str, before: LeadModel | None, raw: bytes, tx: Tx) -> None:
    """Keep what a round gave: a new model, or how the one before errs, and the scores that changed."""
    answer = msgspec.json.decode(raw, type=ScoringResult)
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
    save_scores(tx, [_score(business_id, tx, lead_score) for lead_score in answer.scores])


def _score(business_id: str, tx: Tx, scored: Given) -> LeadScore:
    return LeadScore(
        business_id, scored.lead_id, scored.score, scored.reasons, tx.now, scored.log_odds, scored.is_counted
    )
