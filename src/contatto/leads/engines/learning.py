"""One round of scoring for one business, bytes to bytes: what a process of its own does (`kit/confined`)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from contatto.leads.engines.quality import Quality, learn_quality, read_quality
from contatto.leads.engines.trees import NoTrees, can_grow_trees
from contatto.leads.model.scores import HeldOut, ScoredLead
from contatto.leads.rules.drift import Correction, correct_by
from contatto.leads.rules.scoring import choose_reasons, is_enough

_AT_ONCE: Final = 500


class Asked(msgspec.Struct, frozen=True):
    """What a round is given.

    Args:
        leads: the newest leads, oldest first; those of which it became known what they are since a model
            said something have ``said``, and correct it.
        model: the model that is kept, or nothing: one is to be learned.
        correction: what is kept of how the model errs.
    """

    leads: list[ScoredLead]
    model: bytes
    correction: Correction


class Given(msgspec.Struct, frozen=True):
    """The score of a lead, as `LeadScore` has it; without reasons those that it has stay."""

    lead_id: str
    score: int
    reasons: tuple[str, ...] | None
    log_odds: float
    is_counted: bool


class Learned(msgspec.Struct, frozen=True):
    """A new model: as it is kept, from how many outcomes, the share of trees, and the loss on others.

    ``has_trees``: whether the library of trees could be loaded. ``held`` tells more of these others.
    """

    model: bytes
    outcomes: int
    share: float
    loss: float
    has_trees: bool
    held: HeldOut | None


class Answered(msgspec.Struct, frozen=True):
    """What a round gives back: the scores that changed, and what was learned, if anything was."""

    scores: list[Given]
    correction: Correction
    learned: Learned | None


def score_round(raw: bytes) -> bytes:
    """Correct, learn if there is no model, and score: an `Asked` becomes an `Answered`."""
    asked = msgspec.json.decode(raw, type=Asked)
    return msgspec.json.encode(answer_round(asked))


def answer_round(asked: Asked) -> Answered:
    """The same with values."""
    correction = correct_by(_outcomes(asked.leads), asked.correction)
    kept = _kept(asked.model)
    quality = kept or _learn(asked.leads)
    if quality is None:
        return Answered([], correction, None)
    scores: list[Given] = []
    for start in range(0, len(asked.leads), _AT_ONCE):
        scores += _scores(quality, correction, asked.leads[start : start + _AT_ONCE], is_new=kept is None)
    known = sum(each.is_good is not None for each in asked.leads)
    learned = None if kept else _learned(quality, known)
    return Answered(scores, correction, learned)


def _learned(quality: Quality, known: int) -> Learned:
    kept = quality.to_bytes()
    return Learned(kept, known, quality.share, quality.loss, can_grow_trees(), quality.held)


def _outcomes(leads: Sequence[ScoredLead]) -> list[tuple[float, bool]]:
    return [
        (each.said, each.is_good)
        for each in leads
        if each.said is not None and each.is_good is not None and not each.is_counted
    ]


def _kept(model: bytes) -> Quality | None:
    """The model that is kept; one that cannot be read is learned anew."""
    if model:
        with suppress(NoTrees):
            return read_quality(model)
    return None


def _learn(leads: Sequence[ScoredLead]) -> Quality | None:
    known = [(each, each.is_good) for each in leads if each.is_good is not None]
    came = [is_good for _, is_good in known]
    return learn_quality([(each.words, each.numbers) for each, _ in known], came) if is_enough(came) else None


def _scores(
    quality: Quality, correction: Correction, leads: Sequence[ScoredLead], *, is_new: bool
) -> list[Given]:
    """What changes of leads; those that the model has judged before keep what it said of them, and why."""
    fresh = [each for each in leads if is_new or each.said is None]
    described = [(each.words, each.numbers) for each in fresh]
    judged = dict(zip((each.lead_id for each in fresh), quality.log_odds(described).tolist(), strict=True))
    letters = quality.columns.letters()
    reasons = {
        each.lead_id: choose_reasons(letters, parts, each.words)
        for each, parts in zip(fresh, quality.parts(described).tolist(), strict=True)
    }
    given = []
    for each in leads:
        said = judged.get(each.lead_id, each.said or 0.0)
        score = round(100.0 * correction.chance(said))
        # What this model has not learned, and the correction has not heard of, is still to be heard of.
        is_counted = each.is_good is not None and (is_new or each.said is not None)
        if each.lead_id in judged or (score, is_counted) != (each.score, each.is_counted):
            given.append(Given(each.lead_id, score, reasons.get(each.lead_id), said, is_counted))
    return given
