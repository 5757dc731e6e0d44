"""Pages of delivery: learning of ad groups, decisions, the model, and statements."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log, log10
from typing import Any, Final

from fastapi import Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts.auth import PageCaller, may, may_use, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.accounts.store import list_ad_accounts
from contatto.ads.actions.edits import name_ads
from contatto.ads.model import EVERY_STATUS, AdGroup, NodeFilter, Page
from contatto.ads.store import list_ads, list_nodes
from contatto.delivery.actions.ledger import list_own_days, read_record
from contatto.delivery.actions.results import explain_decision, list_lifts, list_outlooks
from contatto.delivery.actions.training import SHOWN_DAYS, list_curves
from contatto.delivery.rules import OURS
from contatto.delivery.store import find_relearning, list_decisions, list_influences, list_models, list_states
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, LazyText
from contatto.kit.table_export import csv_lines
from contatto.kit.values import from_micros, interval_of, read_number
from contatto.leads.model import LeadModel
from contatto.leads.rules.records import REASONS as SCORE_REASONS
from contatto.leads.store.jobs import find_lead_model
from contatto.learning import model as learning
from contatto.operators import store as operators
from contatto.operators.actions import statement_rows
from contatto.ui.requests import context_of, csv_file

STRONG: Final = 1.5
CLEAR: Final = 1.15
"""Least factors in the odds of strong and clear influences."""
_MOST: Final = 3.0
"""A bar is full at this factor in the odds."""
_SOURCES: Final = {
    learning.InfluenceSource.AD: N_("Ad"),
    learning.InfluenceSource.HISTORY: N_("Past actions of the viewer"),
    learning.InfluenceSource.KIND: N_("Viewer type"),
    learning.InfluenceSource.HOUR: N_("Hour"),
    learning.InfluenceSource.WEEKDAY: N_("Day of the week"),
    learning.InfluenceSource.SHOWN: N_("Frequency and recency of impressions"),
    learning.InfluenceSource.TAPPED: N_("Earlier click on the ad"),
    learning.InfluenceSource.CONTACTED: N_("Earlier chat or lead"),
}
FIELDS: Final = {
    "country": N_("Country"),
    f"{OURS}placement": N_("Placement"),
    f"{OURS}account": N_("Channel account"),
    f"{OURS}device": N_("Device"),
    f"{OURS}language": N_("Language"),
    f"{OURS}age": N_("Age"),
    f"{OURS}interests": N_("Interests"),
}
"""Our own features of a request, by their names in the model."""
_AD_FIELDS: Final = {
    "format": N_("Image or video"),
    "call": N_("Ad button"),
    "account": N_("Channel account of the ad"),
    "form": N_("Form in the ad"),
    "welcome": N_("Welcome message"),
    "headline": N_("Headline"),
    "words": N_("Ad text"),
}
_AGES: Final = re.compile(r"AGE_(\d+)_(\d+)")
_IDS: Final = frozenset({f"{OURS}placement", f"{OURS}account", f"{OURS}interests"})
"""Fields with ids as values, which mean nothing to people."""


@dataclass(frozen=True, slots=True)
class InfluenceRow:
    """An influence on predictions: ``name`` is a text to translate, or "" for a publisher's field ``own``.

    ``times`` is its typical factor in the odds, up or down; ``most`` and ``least`` are extreme values.
    """

    name: str
    own: str
    times: float
    most: learning.ValueOdds | None = None
    least: learning.ValueOdds | None = None

    @property
    def strength(self) -> str:
        return "strong" if self.times >= STRONG else "clear" if self.times >= CLEAR else "slight"

    @property
    def width(self) -> float:
        """Return the width of its bar, 0 to 100."""
        return round(100.0 * min(log(max(self.times, 1.0)) / log(_MOST), 1.0), 1)


def row_of_influence(influence: learning.Influence) -> InfluenceRow:
    """Name an influence and its values for people."""
    if influence.source in _SOURCES:
        return InfluenceRow(_SOURCES[influence.source], "", influence.times)
    names = _AD_FIELDS if influence.source is learning.InfluenceSource.AD_FIELD else FIELDS
    name = names.get(influence.name, "")
    own = "" if name else influence.name
    if influence.source is learning.InfluenceSource.AD_FIELD or influence.name in _IDS:
        return InfluenceRow(name, own, influence.times)
    extremes: list[learning.ValueOdds | None] = []
    for odds in (influence.most, influence.least):
        ages = odds and _AGES.fullmatch(odds.value)
        if odds and ages:
            first, last = ages.groups()
            extremes.append(
                learning.ValueOdds(f"{first}+" if last == "100" else f"{first}–{last}", odds.times)
            )
        else:
            extremes.append(odds)
    return InfluenceRow(name, own, influence.times, *extremes)


router: Final = page_routes()
LATEST: Final = 15
"""Number of shown decisions."""
PHASES: Final = {
    learning.Phase.LEARNING: N_("Learning"),
    learning.Phase.LEARNED: N_("Learned"),
    learning.Phase.LIMITED: N_("Learning limited"),
}
KINDS: Final = {
    learning.Phase.LEARNING: "review",
    learning.Phase.LEARNED: "on",
    learning.Phase.LIMITED: "failed",
}
REASONS: Final = {
    learning.Reason.FEW_CONVERSIONS: N_("The ad group needs more conversions. Keep it running."),
    learning.Reason.TOO_FEW_LEADS: N_("Too few leads."),
    learning.Reason.TOO_FEW_CONVERSATIONS: N_("Too few conversations."),
    learning.Reason.LITTLE_TRAFFIC: N_("Too few people match its targeting. Widen it."),
    learning.Reason.LOW_BID: N_("The bid is too low to win auctions. Raise it."),
    learning.Reason.LITTLE_BUDGET: N_(
        "The budget is too low for the conversions that learning needs. Raise it."
    ),
}


@router.get("/ads/delivery", Permission.READ_ADS)
async def show_delivery(request: Request, caller: PageCaller) -> HTMLResponse:
    """Show the learning phase of each ad group, the latest decisions, and one of them explained."""
    context, decision = context_of(request), read_number(request.query_params.get("decision", ""))

    def work(tx: Tx) -> dict[str, Any]:
        accounts = [
            account for account in list_ad_accounts(tx, caller.business_id) if may_use(caller, account.id)
        ]
        states = {state.number: state for state in list_states(tx, caller.business_id)}
        currencies = {account.currency for account in accounts}
        balances = [
            (account, operators.find_balance(tx, caller.business_id, account.id)) for account in accounts
        ]
        groups: list[dict[str, Any]] = []
        lifts: list[dict[str, Any]] = []
        for account in accounts:
            for group in list_nodes(tx, AdGroup, caller.business_id, account.id, NodeFilter(), Page(1, 200)):
                state = states.get(group.number)
                phase = learning.Phase.LEARNING if state is None else state.phase
                group_row = {
                    "name": group.name,
                    "number": str(group.number),
                    "phase": PHASES[phase],
                    "kind": KINDS[phase],
                    "reasons": [REASONS[reason] for reason in state.reasons] if state else [],
                    "state": state,
                }
                groups.append(group_row)
            for result in list_lifts(tx, account):
                campaign, values = result.campaign, (result.lift.lift, result.lift.low, result.lift.high)
                lift, low, high = (None if value is None else 100.0 * value for value in values)
                verdict = "unsure"  # where the interval includes 0
                if low is not None and high is not None:
                    verdict = "more" if low > 0.0 else "fewer" if high < 0.0 else "unsure"
                lift_row = {
                    "name": campaign.name if campaign else "",
                    "number": str(campaign.number) if campaign else "",
                    "goal": result.goal,
                    "currency": account.currency,
                    "verdict": verdict,
                    "lift": lift,
                    "low": low,
                    "high": high,
                    "missing": result.lift.missing,
                    "cost_learned": result.learned.cost_micros,
                    "cost_random": result.random.cost_micros,
                }
                lifts.append(lift_row)
        return {
            "rows": groups,
            "balances": [(account, balance) for account, balance in balances if balance.is_limited],
            "currency": currencies.pop() if len(currencies) == 1 else "",
            "outlooks": [
                (account, outlook) for account in accounts for outlook in list_outlooks(tx, account)
            ],
            "lifts": lifts,
            "decisions": _decisions(tx, caller),
            "why": _why(tx, caller, decision) if decision else None,
        }

    values = await context.db.read_long(work, caller.business_id)
    values["trial_share"] = context.settings.trial_share
    why = values["why"]
    if why and why["placement"]:
        with acting(""):  # the placement belongs to the operator; only its name is shown
            names = await context.db.read(lambda tx: operators.list_placement_names(tx, [why["placement"]]))
        why["placement"] = names.get(why["placement"], "")
    return context.pages.render(request, "delivery/learning.html", {"caller": caller, **values})


def _decisions(tx: Tx, caller: Caller) -> list[dict[str, Any]]:
    """Return the latest decisions that the caller may see.

    Prices are for a thousand views, probabilities in percent. Where another business won the placement, the
    ad has no name, and the price is the bid to beat.
    """
    rows: list[dict[str, Any]] = []
    records = [read_record(entry.body) for entry in list_decisions(tx, caller.business_id, 4 * LATEST)]
    names = _name_own_ads(tx, caller, {record.ad for record in records})
    for record in records:
        row = {"id": str(record.nonce), "at": from_micros(record.ts)}
        if not record.ad and record.placement and record.ads:
            rows.append(row | {"ad_name": "", "price_micros": record.to_beat_micros})
        elif (name := names.get(record.ad)) is not None:
            click, lead = 100 * record.p[0], 100 * record.p[0] * record.p[1] * record.p[2]
            row |= {"ad_name": name, "price_micros": record.price_micros, "p_click": click, "p_lead": lead}
            rows.append(row)
    return rows[:LATEST]


def _name_own_ads(tx: Tx, caller: Caller, numbers: set[int]) -> dict[int, str]:
    """Return unique names of those ads that the caller may see, by number."""
    ads = list_ads(tx, caller.business_id, number=sorted(numbers))
    return name_ads(tx, caller.business_id, [ad for ad in ads if may_use(caller, ad.ad_account_id)])


def factor_text(name: str) -> LazyText:
    """Name a factor of a decision: one of ours, or a publisher's field."""
    if name in FIELDS:
        return LazyText(FIELDS[name])
    return LazyText("Publisher field “%(name)s”", name=name)


def _why(tx: Tx, caller: Caller, nonce: int) -> dict[str, Any]:
    """Explain a decision: its factors, bids of the caller's ads, and ad groups at their frequency cap.

    ``is_same`` reports whether its replay gave the same result.
    """
    explanation = explain_decision(tx, caller.business_id, nonce)
    record, explained = explanation.record, explanation.explained
    features = explained.features if explained else {}
    offers = explained.offers if explained else {}
    ordered = sorted(features.items(), key=lambda item: abs(item[1] - 1.0), reverse=True)
    names = _name_own_ads(tx, caller, set(record.ads))
    own_bids: list[dict[str, Any]] = [
        {"name": names[number], "offer_micros": offers.get(number, 0), "is_shown": number == record.ad}
        for number in record.ads
        if number in names
    ]
    own_bids.sort(key=lambda bid: (-bid["offer_micros"], not bid["is_shown"]))
    capped = frozenset(number for number, why in record.left_out.items() if why == learning.Hurdle.FREQUENCY)
    node_filter = NodeFilter(ad_group_numbers=capped, statuses=EVERY_STATUS)
    return {
        "at": from_micros(record.ts),
        "shown": names.get(record.ad, ""),
        "is_random_arm": record.trial < 0,
        "is_erased": not record.history,
        "is_same": explained is not None and explained.is_same,
        "placement": record.placement,
        "floor_micros": max(record.floor_micros, record.to_beat_micros),
        "price_micros": record.price_micros,
        "features": [(factor_text(name), factor) for name, factor in ordered[:8]],
        "own_bids": own_bids[:10],
        "full": [
            group.name
            for account in (list_ad_accounts(tx, caller.business_id) if capped else [])
            if may_use(caller, account.id)
            for group in list_nodes(tx, AdGroup, account.business_id, account.id, node_filter, Page())
        ],
    }


TITLES: Final = {
    learning.Question.CLICK: N_("Clicks"),
    learning.Question.CONVERSATION: N_("Conversations"),
    learning.Question.LEAD: N_("Leads"),
    learning.Question.SPAM: N_("Spam chats"),
}
PREDICTED: Final = {
    learning.Question.CLICK: N_("Predicted probability that a person who saw an ad clicks it."),
    learning.Question.CONVERSATION: N_(
        "Predicted probability that a person who clicked an ad writes a message."
    ),
    learning.Question.LEAD: N_("Predicted probability that a person who wrote leaves contact details."),
    learning.Question.SPAM: N_("Predicted probability that a chat is spam."),
}
LISTED: Final = 7
"""Number of influences that the page shows for a question; the API returns more."""
_FEW: Final = 10
"""With fewer positive outcomes, calibration gets no verdict."""


SIZE: Final = 1000
"""Width and height of the drawings, in their own units."""
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """SVG paths of predicted (x) against actual (y) shares, 0 to ``top``."""

    top: float
    line: str
    points: str
    intervals: str


@dataclass(frozen=True, slots=True)
class Losses:
    """SVG paths of the daily loss, and of the mean rate's, between ``low`` and ``top``.

    ``labels`` are the days below the axis, "" where a label does not fit.
    """

    low: float
    top: float
    loss: str
    loss_points: str
    of_rate: str
    labels: tuple[str, ...]


def round_up(value: float) -> float:
    """Round up to a number with one digit, or to 1.5 or 2.5 times a power of ten."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1.0 - 1e-9))


def draw_bins(bins: Sequence[learning.Bin]) -> Calibration:
    """Draw calibration bins; intervals end at the edge of the box."""
    top = min(round_up(1.05 * max((max(item.predicted, item.share) for item in bins), default=0.0)), 1.0)
    predicted = [_scaled(item.predicted, 0.0, top) for item in bins]
    places = [(x, SIZE - _scaled(item.share, 0.0, top)) for x, item in zip(predicted, bins, strict=True)]
    intervals = [
        f"M{x} {SIZE - _scaled(item.low, 0.0, top)}V{SIZE - _scaled(item.high, 0.0, top)}"
        for x, item in zip(predicted, bins, strict=True)
    ]
    return Calibration(top, _line(places), _points(places), "".join(intervals))


def draw_losses(days: Sequence[learning.DailyLoss]) -> Losses:
    values = [value for day in days for value in (day.loss, day.of_rate)] or [0.0]
    step = round_up(max(max(values) - min(values), max(values) * 0.05) / 2.0)
    low = max(floor(min(values) / step) * step, 0.0)
    top = max(ceil(max(values) / step) * step, low + step)
    slot = SIZE / max(len(days), 1)
    every = max(1, -(-len(days) // _LABELS))
    across = [round(slot * (number + 0.5), 1) for number in range(len(days))]
    loss, of_rate = (
        [(x, round(SIZE - _scaled(value, low, top), 1)) for x, value in zip(across, series, strict=True)]
        for series in ([day.loss for day in days], [day.of_rate for day in days])
    )
    labels = tuple(day.day if number % every == 0 else "" for number, day in enumerate(days))
    return Losses(low, top, _line(loss), _points(loss), _line(of_rate), labels)


def _scaled(value: float, low: float, top: float) -> float:
    return round(SIZE * min(max((value - low) / (top - low), 0.0), 1.0), 1)


def _line(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places) if places else ""


def _points(places: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x} {y}h.01" for x, y in places)


@router.page("/ads/delivery/model", Permission.READ_ADS, "delivery/model.html", is_long=True)
def show_delivery_model(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    """Show predicted and actual outcomes of ads, influences on predictions, and the same for lead scores."""
    sees_all = caller.ad_account_ids is None
    own = None if caller.ad_account_ids is None else sorted(caller.ad_account_ids)
    curves = list_curves(tx, caller.business_id, own)
    influences = list_influences(tx, caller.business_id) if sees_all else []
    newest = next(iter(list_models(tx, caller.business_id)), None) if sees_all else None
    sees_leads = sees_all and may(caller, Permission.READ_LEADS)
    scorer = find_lead_model(tx, caller.business_id) if sees_leads else None
    cards: list[dict[str, Any]] = []
    for curve in curves:
        of_question = [influence for influence in influences if influence.question is curve.question]
        names = {"title": TITLES[curve.question], "help": PREDICTED[curve.question]}
        rows = [row_of_influence(influence) for influence in of_question[:LISTED]]
        cards.append({"id": curve.question.value, **names, **_judge(curve), "influences": rows})
    return {
        "cards": cards,
        "version": newest.version if newest else 0,
        "made_at": from_micros(newest.made_at) if newest else None,
        "relearned": find_relearning(tx, caller.business_id) if sees_all else None,
        "sees_all": sees_all,
        "sees_leads": sees_leads,
        "leads": _lead_card(scorer) if scorer else None,
        "days": SHOWN_DAYS,
    }


def _judge(curve: learning.Curve) -> dict[str, Any]:
    """Draw a curve, and compare the predicted number with the 95 % interval of the actual one.

    The verdict is "right", "high", "low", or "few" with too few outcomes. ``gain`` is the reduction of the
    loss against the constant rate, in percent.
    """
    low, high = interval_of(curve.actual, curve.cases)
    verdict = "few"
    if curve.actual >= _FEW:
        is_low = curve.expected < low * curve.cases
        verdict = "high" if curve.expected > high * curve.cases else "low" if is_low else "right"
    return {
        "curve": curve,
        "verdict": verdict,
        "gain": 100.0 * (1.0 - curve.loss / curve.of_rate) if curve.of_rate > 0.0 else 0.0,
        "drawn": draw_bins(curve.bins),
        "losses": draw_losses(curve.days) if curve.days else None,
    }


def _lead_card(model: LeadModel) -> dict[str, Any] | None:
    """Return the card of the lead model; None for a model without scores on held-out leads.

    ``share`` is the part of the log-odds that trees contribute, in percent.
    """
    held_out = model.held
    if held_out is None:
        return None
    bins = held_out.bins
    cases, expected = sum(item.cases for item in bins), sum(item.cases * item.predicted for item in bins)
    rows = [
        InfluenceRow(SCORE_REASONS[sign.letter], "", sign.times)
        for sign in held_out.signs
        if sign.letter in SCORE_REASONS and sign.times >= 1.005  # less is rounded to no change
    ]
    distance = sum(item.cases * abs(item.predicted - item.share) for item in bins) / max(cases, 1)
    curve = learning.Curve(
        learning.Question.LEAD,
        cases,
        held_out.good,
        expected,
        model.loss,
        held_out.of_rate,
        distance,
        bins,
        (),
    )
    card = {
        "id": "scores",
        "title": N_("Qualified leads"),
        "help": N_("Predicted probability that a lead becomes qualified, for leads with a known outcome."),
        "influences": rows,
    }
    counts = {"outcomes": model.outcomes, "learned_at": model.learned_at, "share": 100.0 * model.share}
    return counts | {"card": card | _judge(curve)}


@router.get("/ads/statement.csv", Permission.READ_REPORTS)
async def download_statement(request: Request, caller: PageCaller) -> StreamingResponse:
    """Download the payments and charges of the ad accounts by day, with the balance after each."""

    def work(tx: Tx) -> list[list[str]]:
        head = "ad account,currency,day,ad group,note,views,clicks,amount,balance,marketplace,placement"
        lines = [head.split(",")]
        markets = {
            admission.operator_id: admission.operator_name
            for admission in operators.list_admissions_of_business(tx, caller.business_id)
        }
        for account in list_ad_accounts(tx, caller.business_id):
            if not may_use(caller, account.id):
                continue
            node_filter = NodeFilter(statuses=EVERY_STATUS)  # deleted ad groups too
            listed = list_nodes(tx, AdGroup, account.business_id, account.id, node_filter)
            groups = {group.id: group.name for group in listed}
            own = replace(
                operators.find_balance(tx, account.business_id, account.id),
                number=account.number,
                currency=account.currency,
            )
            statements = [("", own, list_own_days(tx, account))]
            for balance in operators.list_limited_balances(tx, account.business_id, [account.id]):
                if balance.operator_id:
                    days = operators.list_placed_days(tx, balance.operator_id, ad_account_id=account.id)
                    statements.append((markets[balance.operator_id], balance, days))
            for market, balance, days in statements:
                for number, currency, day, placement, *rest in statement_rows(
                    tx, balance, days, names, groups
                ):
                    lines.append([number, currency, day, *rest, market, placement])
        return lines

    db = context_of(request).db
    used = await db.read(lambda tx: operators.list_used_placements(tx, caller.business_id))
    with acting(""):  # placements belong to operators; only names of paid ones are shown
        names = await db.read(lambda tx: operators.list_placement_names(tx, used))
    lines = csv_lines(await db.read_long(work, caller.business_id), bom=True)
    return csv_file("statement.csv", lines)
