"""How well delivery foretells: its curves, what it goes by, and the same of the scores of leads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.delivery.actions.foretelling import SHOWN_DAYS, WAIT_DAYS, list_curves
from contatto.delivery.model.foretold import Bin, Curve, Question
from contatto.delivery.model.influences import Influence, Influences, Source
from contatto.delivery.pages.influences import InfluenceRow, row_of_influence
from contatto.delivery.rules.drawing import Calibration, Losses, draw_bins, draw_losses
from contatto.delivery.store.foretold import find_influences
from contatto.delivery.store.models import list_models
from contatto.delivery.store.relearnings import find_relearning
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_
from contatto.kit.numbers import interval_of
from contatto.kit.timestamps import from_micros
from contatto.leads.model import HeldBin, LeadModel
from contatto.leads.rules.filters import REASONS
from contatto.leads.store.jobs import find_lead_model
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
TITLES: Final = {
    Question.CLICK: N_("Clicks"),
    Question.CONVERSATION: N_("Conversations"),
    Question.LEAD: N_("Leads"),
    Question.SPAM: N_("Spam chats"),
}
ASKED: Final = {
    Question.CLICK: N_("Predicted probability that a person who saw an ad clicks it."),
    Question.CONVERSATION: N_("Predicted probability that a person who clicked an ad writes a message."),
    Question.LEAD: N_("Predicted probability that a person who wrote leaves contact details."),
    Question.SPAM: N_("Predicted probability that a chat is spam."),
}
LISTED: Final = 7
"""So many of the things that estimates go by are shown of a question; the API tells more."""
_FEW: Final = 10
"""With fewer that came nothing is said of whether estimates are right."""


@dataclass(frozen=True, slots=True)
class CurveCard:
    """A question with its curves; ``verdict`` is "right", "high", "low" or "few" (see `_verdict`).

    ``gain`` is by how much less is lost than by the rate alone, in percent; below 0 more is. ``losses`` are
    None where there are no days.
    """

    id: str
    title: str
    told_of_whom: str
    asked: int
    came: int
    expected: float
    verdict: str
    gain: float
    loss: float
    of_rate: float
    distance: float
    wait_days: int
    drawn: Calibration
    bins: tuple[Bin, ...]
    losses: Losses | None
    days: tuple[tuple[str, int, int, float, float], ...]
    influences: list[InfluenceRow]


@dataclass(frozen=True, slots=True)
class LeadCard:
    """The model that scores leads: ``share`` of trees in percent, and how it did on leads held back."""

    learned_at: datetime
    outcomes: int
    good: int
    share: float
    curve: CurveCard


@router.get("/ads/delivery/model")
async def show_delivery_model(request: Request, caller: PageCaller) -> HTMLResponse:
    """What was foretold of ads beside what came, what the model goes by, and the same of scores of leads."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    sees_all = caller.ad_account_ids is None
    own = None if caller.ad_account_ids is None else sorted(caller.ad_account_ids)

    def work(tx: Tx) -> dict[str, object]:
        curves = list_curves(tx, caller.business_id, own)
        influences = find_influences(tx, caller.business_id) if sees_all else None
        newest = next(iter(list_models(tx, caller.business_id)), None) if sees_all else None
        sees_leads = sees_all and may(caller, Permission.READ_LEADS)
        scorer = find_lead_model(tx, caller.business_id) if sees_leads else None
        return {
            "cards": [_card_of(curve, influences) for curve in curves],
            "version": newest.version if newest else 0,
            "made_at": from_micros(newest.made_at) if newest else None,
            "relearned": find_relearning(tx, caller.business_id) if sees_all else None,
            "sees_all": sees_all,
            "sees_leads": sees_leads,
            "leads": _lead_card(scorer) if scorer else None,
            "days": SHOWN_DAYS,
        }

    values = await context.db.read_long(work, caller.business_id)
    return context.pages.render(request, "delivery/model.html", {"caller": caller, **values})


def _verdict(asked: int, came: int, expected: float) -> str:
    """Return whether so many came as were expected, as far as so many can tell."""
    if came < _FEW:
        return "few"
    low, high = interval_of(came, asked)
    if expected > high * asked:
        return "high"
    return "low" if expected < low * asked else "right"


def _gain(loss: float, of_rate: float) -> float:
    return 100.0 * (1.0 - loss / of_rate) if of_rate > 0.0 else 0.0


def _card_of(curve: Curve, influences: Influences | None) -> CurveCard:
    found: list[Influence] = influences.found if influences else []
    own = [
        influence
        for influence in found
        if influence.question is curve.question and influence.source is not Source.EARLIER
    ]
    earlier = [each for each in found if each.question is curve.question and each.source is Source.EARLIER]
    return CurveCard(
        id=curve.question.value,
        title=TITLES[curve.question],
        told_of_whom=ASKED[curve.question],
        asked=curve.asked,
        came=curve.came,
        expected=curve.expected,
        verdict=_verdict(curve.asked, curve.came, curve.expected),
        gain=_gain(curve.loss, curve.of_rate),
        loss=curve.loss,
        of_rate=curve.of_rate,
        distance=curve.distance,
        wait_days=WAIT_DAYS[curve.question],
        drawn=draw_bins(curve.bins),
        bins=curve.bins,
        losses=draw_losses(curve.days),
        days=tuple((day.day, day.asked, day.came, day.loss, day.of_rate) for day in curve.days),
        influences=[row_of_influence(each) for each in [*own, *earlier][:LISTED]],
    )


def _lead_card(model: LeadModel) -> LeadCard | None:
    """None for a model from before it was kept how it did."""
    held = model.held
    if held is None:
        return None
    bins = tuple(_bin_of(each) for each in held.bins)
    asked, expected = sum(each.asked for each in bins), sum(each.asked * each.told for each in bins)
    influences = [
        row
        for sign in held.signs
        if sign.letter in REASONS and (row := InfluenceRow(REASONS[sign.letter], "", sign.times)).is_seen
    ]
    distance = sum(each.asked * abs(each.told - each.share) for each in bins) / max(asked, 1)
    curve = CurveCard(
        "scores", N_("Qualified leads"),
        N_("Predicted probability that a lead becomes qualified, for leads with a known outcome."),
        asked, held.good, expected, _verdict(asked, held.good, expected), _gain(model.loss, held.of_rate),
        model.loss, held.of_rate, distance, 0, draw_bins(bins), bins, None, (), influences,
    )  # fmt: skip
    return LeadCard(model.learned_at, model.outcomes, held.good, 100.0 * model.share, curve)


def _bin_of(held: HeldBin) -> Bin:
    low, high = interval_of(held.came, held.asked)
    return Bin(held.asked, held.came, held.told, held.came / held.asked, low, high)
