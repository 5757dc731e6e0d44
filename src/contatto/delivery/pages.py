"""Pages of delivery: learning of ad groups, decisions, the model, and statements."""

import re
from dataclasses import dataclass
from datetime import datetime
from math import log
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import may, may_use, require
from contatto.accounts.store import list_ad_accounts
from contatto.ads.actions.publishing import name_ads
from contatto.ads.model import NodeFilter, NodeStatus, Page
from contatto.ads.store import list_ad_groups, list_ads_by_number
from contatto.delivery.actions.budgets import load_statement
from contatto.delivery.actions.log import read_record
from contatto.delivery.actions.results import CampaignLift, explain_decision, list_lifts, list_outlooks
from contatto.delivery.actions.training import SHOWN_DAYS, WAIT_DAYS, list_curves
from contatto.delivery.rules.results import Calibration, Losses, draw_bins, draw_losses
from contatto.delivery.rules.targeting import OURS
from contatto.delivery.store import ledger, models
from contatto.delivery.store.log import list_decisions
from contatto.delivery.store.models import find_influences, find_relearning, list_models
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, LazyText
from contatto.kit.numbers import MICROS, interval_of, read_number
from contatto.kit.table_export import csv_lines
from contatto.kit.timestamps import from_micros
from contatto.leads.model import HeldBin, LeadModel
from contatto.leads.rules.filters import REASONS as SCORE_REASONS
from contatto.leads.store.jobs import find_lead_model
from contatto.learning.model import (
    Bin,
    Curve,
    GroupState,
    Hurdle,
    Influence,
    Influences,
    InfluenceSource,
    Phase,
    Question,
    Reason,
    ValueOdds,
)
from contatto.operators.actions import statement_rows
from contatto.operators.store import (
    list_admissions_of_business,
    list_balances_of_accounts,
    list_placement_names,
    list_used_placements,
)
from contatto.ui.context import context_of

STRONG: Final = 1.5
CLEAR: Final = 1.15
_MOST: Final = 3.0
"""A bar is full where something multiplies the odds by so much."""
_SOURCES: Final = {
    InfluenceSource.AD: N_("Ad"),
    InfluenceSource.HISTORY: N_("Past actions of the viewer"),
    InfluenceSource.KIND: N_("Viewer type"),
    InfluenceSource.HOUR: N_("Hour"),
    InfluenceSource.WEEKDAY: N_("Day of the week"),
    InfluenceSource.SHOWN: N_("Frequency and recency of impressions"),
    InfluenceSource.TAPPED: N_("Earlier click on the ad"),
    InfluenceSource.CONTACTED: N_("Earlier chat or lead"),
    InfluenceSource.EARLIER: N_("Predictions of the earlier steps"),
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
"""What the engine itself makes of a request, by its name in the model."""
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
"""Fields whose values are ids, which tell people nothing."""


@dataclass(frozen=True, slots=True)
class InfluenceRow:
    """One thing that estimates go by: ``name`` is a text to translate, or "" where ``own`` names a field.

    ``times`` is by what it typically multiplies or divides the odds; ``most`` and ``least`` are values.
    """

    name: str
    own: str
    times: float
    most: ValueOdds | None = None
    least: ValueOdds | None = None

    @property
    def is_seen(self) -> bool:
        """Return whether it moves the odds so much that rounding shows it."""
        return self.times >= 1.005

    @property
    def strength(self) -> str:
        return "strong" if self.times >= STRONG else "clear" if self.times >= CLEAR else "slight"

    @property
    def width(self) -> float:
        """Of its bar, 0 to 100."""
        return round(100.0 * min(log(max(self.times, 1.0)) / log(_MOST), 1.0), 1)


def row_of_influence(found: Influence) -> InfluenceRow:
    """An influence as people read it."""
    if found.source in _SOURCES:
        return InfluenceRow(_SOURCES[found.source], "", found.times)
    if found.source is InfluenceSource.AD_FIELD:
        name = _AD_FIELDS.get(found.name, "")
        return InfluenceRow(name, "" if name else found.name, found.times)
    name, own = _name_of(found.name)
    tells = found.name not in _IDS
    most, least = (_said(each) if tells else None for each in (found.most, found.least))
    return InfluenceRow(name, own, found.times, most, least)


def _name_of(field: str) -> tuple[str, str]:
    known = FIELDS.get(field, "")
    return known, "" if known else field


def _said(said: ValueOdds | None) -> ValueOdds | None:
    """A value as people read it: age groups as ages."""
    ages = None if said is None else _AGES.fullmatch(said.value)
    if said is None or ages is None:
        return said
    first, last = ages.groups()
    return ValueOdds(f"{first}+" if last == "100" else f"{first}–{last}", said.times)


router: Final = APIRouter(include_in_schema=False)
LATEST: Final = 15
"""So many decisions are shown."""
PHASES: Final = {
    Phase.LEARNING: N_("Learning"),
    Phase.LEARNED: N_("Learned"),
    Phase.LIMITED: N_("Learning limited"),
}
KINDS: Final = {Phase.LEARNING: "review", Phase.LEARNED: "on", Phase.LIMITED: "failed"}
REASONS: Final = {
    Reason.FEW_CONVERSIONS: N_("The ad group needs more conversions. Keep it running."),
    Reason.TOO_FEW_LEADS: N_("Too few leads."),
    Reason.TOO_FEW_CONVERSATIONS: N_("Too few conversations."),
    Reason.LITTLE_TRAFFIC: N_("Too few people match its targeting. Widen it."),
    Reason.LOW_BID: N_("The bid is too low to win auctions. Raise it."),
    Reason.LITTLE_BUDGET: N_("The budget is too low for the conversions that learning needs. Raise it."),
}


@dataclass(frozen=True, slots=True)
class _GroupRow:
    """An ad group and how far it has learned."""

    name: str
    number: str
    phase: str
    kind: str
    reasons: list[str]
    state: GroupState | None


@dataclass(frozen=True, slots=True)
class _DecisionRow:
    """A decision; ``price_micros`` is for a thousand views, chances are in percent.

    Without a name it was lost to another business in a marketplace, where the price would have won.
    """

    id: str
    at: datetime
    ad_name: str
    price_micros: int
    p_click: float
    p_lead: float


@dataclass(frozen=True, slots=True)
class _Rival:
    """An ad of the caller in an auction, and what it offered for a thousand views."""

    name: str
    offer_micros: int
    is_shown: bool


@dataclass(frozen=True, slots=True)
class _LiftRow:
    """What learning brought to a campaign ("" for all of one goal); money is micros of the currency.

    ``lift``, ``low`` and ``high`` are in percent, None while ``missing`` conversions are too few. ``verdict``
    is "more" or "fewer" where the interval leaves out nothing, else "unsure".
    """

    name: str
    number: str
    goal: str
    currency: str
    verdict: str
    lift: float | None
    low: float | None
    high: float | None
    missing: tuple[int, int]
    cost_learned: int | None
    cost_by_lot: int | None


@router.get("/ads/delivery")
async def show_delivery(request: Request, caller: PageCaller) -> HTMLResponse:
    """What delivery learned of each ad group, the latest decisions, and one of them explained."""
    require(caller, Permission.READ_ADS)
    context, asked = context_of(request), read_number(request.query_params.get("decision", ""))

    def work(tx: Tx) -> dict[str, Any]:
        accounts = [
            ad_account
            for ad_account in list_ad_accounts(tx, caller.business_id)
            if may_use(caller, ad_account.id)
        ]
        states = {state.number: state for state in models.list_states(tx, caller.business_id)}
        rows = [row for account in accounts for row in _groups(tx, account, states)]
        currencies = {account.currency for account in accounts}
        balances = [
            (account, ledger.find_balance(tx, caller.business_id, account.id)) for account in accounts
        ]
        return {
            "rows": rows,
            "balances": [(account, balance) for account, balance in balances if balance.is_limited],
            "currency": currencies.pop() if len(currencies) == 1 else "",
            "outlooks": [
                (account, outlook) for account in accounts for outlook in list_outlooks(tx, account)
            ],
            "lifts": [_lift_row(account, lift) for account in accounts for lift in list_lifts(tx, account)],
            "decisions": _decisions(tx, caller),
            "why": _why(tx, caller, asked) if asked else None,
        }

    values = await context.db.read_long(work, caller.business_id)
    values["trial_share"] = context.settings.trial_share
    why = values["why"]
    if why and why["placement"]:
        with acting(""):  # it is the operator's; its name alone is told
            names = await context.db.read(lambda tx: list_placement_names(tx, [why["placement"]]))
        why["placement"] = names.get(why["placement"], "")
    return context.pages.render(request, "delivery/learning.html", {"caller": caller, **values})


def _lift_row(account: AdAccount, measured: CampaignLift) -> _LiftRow:
    campaign, found = measured.campaign, measured.lift
    lift, low, high = (None if each is None else 100.0 * each for each in (found.lift, found.low, found.high))
    verdict = "unsure"
    if low is not None and high is not None:
        verdict = "more" if low > 0.0 else "fewer" if high < 0.0 else "unsure"
    name, number = ("", "") if campaign is None else (campaign.name, str(campaign.number))
    return _LiftRow(
        name, number, measured.goal, account.currency, verdict, lift, low, high, found.missing,
        measured.learned.cost_micros, measured.by_lot.cost_micros,
    )  # fmt: skip


def _groups(tx: Tx, account: AdAccount, states: dict[int, GroupState]) -> list[_GroupRow]:
    groups = []
    for group in list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page(1, 200)):
        state = states.get(group.number)
        phase = Phase.LEARNING if state is None else state.phase
        reasons = [REASONS[reason] for reason in state.reasons] if state else []
        groups.append(_GroupRow(group.name, str(group.number), PHASES[phase], KINDS[phase], reasons, state))
    return groups


def _decisions(tx: Tx, caller: Caller) -> list[_DecisionRow]:
    rows = []
    records = [read_record(entry.body) for entry in list_decisions(tx, caller.business_id, 4 * LATEST)]
    names = _name_own_ads(tx, caller, {record.ad for record in records})
    for record in records:
        if not record.ad and record.placement and record.ads:
            at = from_micros(record.ts)
            rows.append(_DecisionRow(str(record.nonce), at, "", record.to_beat_micros, 0.0, 0.0))
            continue
        name = names.get(record.ad)
        if name is None:
            continue
        click, lead = 100 * record.p[0], 100 * record.p[0] * record.p[1] * record.p[2]
        at = from_micros(record.ts)
        rows.append(_DecisionRow(str(record.nonce), at, name, record.price_micros, click, lead))
    return rows[:LATEST]


def _name_own_ads(tx: Tx, caller: Caller, numbers: set[int]) -> dict[int, str]:
    """Those of the ads that the caller may see, by number, under names that tell them apart."""
    found = list_ads_by_number(tx, caller.business_id, numbers).values()
    return name_ads(tx, caller.business_id, [ad for ad in found if may_use(caller, ad.ad_account_id)])


def _name_own_groups(tx: Tx, caller: Caller, numbers: set[int]) -> list[str]:
    """The names of those of some ad groups that the caller may see."""
    node_filter = NodeFilter(ad_group_numbers=frozenset(numbers), statuses=frozenset(NodeStatus))
    accounts = list_ad_accounts(tx, caller.business_id) if numbers else []
    return [
        group.name
        for account in accounts
        if may_use(caller, account.id)
        for group in list_ad_groups(tx, account.business_id, account.id, node_filter, Page())
    ]


def factor_text(name: str) -> LazyText:
    """Name a factor of a decision: one of ours, or a field that the publisher sends."""
    if name in FIELDS:
        return LazyText(FIELDS[name])
    return LazyText("Publisher field “%(name)s”", name=name)


def _why(tx: Tx, caller: Caller, nonce: int) -> dict[str, Any]:
    explanation = explain_decision(tx, caller.business_id, nonce)
    record = explanation.record
    features = explanation.explained.features if explanation.explained else {}
    ordered = sorted(features.items(), key=lambda item: abs(item[1] - 1.0), reverse=True)
    names = _name_own_ads(tx, caller, set(record.ads))
    offers = explanation.explained.offers if explanation.explained else {}
    rivals = [
        _Rival(names[number], offers.get(number, 0), number == record.ad)
        for number in record.ads
        if number in names
    ]
    full = {number for number, why in record.left_out.items() if why == Hurdle.FREQUENCY}
    rivals.sort(key=lambda rival: (-rival.offer_micros, not rival.is_shown))
    return {
        "at": from_micros(record.ts),
        "shown": names.get(record.ad, ""),
        "is_by_lot": record.trial < 0,
        "is_erased": explanation.is_erased,
        "is_same": explanation.explained is not None and explanation.explained.is_same,
        "placement": record.placement,
        "floor_micros": max(record.floor_micros, record.to_beat_micros),
        "price_micros": record.price_micros,
        "features": [(factor_text(name), factor) for name, factor in ordered[:8]],
        "rivals": rivals[:10],
        "full": _name_own_groups(tx, caller, full),
    }


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
    found: list[Influence] = influences.entries if influences else []
    own = [
        influence
        for influence in found
        if influence.question is curve.question and influence.source is not InfluenceSource.EARLIER
    ]
    earlier = [
        each for each in found if each.question is curve.question and each.source is InfluenceSource.EARLIER
    ]
    return CurveCard(
        id=curve.question.value,
        title=TITLES[curve.question],
        told_of_whom=ASKED[curve.question],
        asked=curve.cases,
        came=curve.actual,
        expected=curve.expected,
        verdict=_verdict(curve.cases, curve.actual, curve.expected),
        gain=_gain(curve.loss, curve.of_rate),
        loss=curve.loss,
        of_rate=curve.of_rate,
        distance=curve.distance,
        wait_days=WAIT_DAYS[curve.question],
        drawn=draw_bins(curve.bins),
        bins=curve.bins,
        losses=draw_losses(curve.days),
        days=tuple((day.day, day.cases, day.actual, day.loss, day.of_rate) for day in curve.days),
        influences=[row_of_influence(each) for each in [*own, *earlier][:LISTED]],
    )


def _lead_card(model: LeadModel) -> LeadCard | None:
    """None for a model from before it was kept how it did."""
    held = model.held
    if held is None:
        return None
    bins = tuple(_bin_of(each) for each in held.bins)
    asked, expected = sum(each.cases for each in bins), sum(each.cases * each.predicted for each in bins)
    influences = [
        row
        for sign in held.signs
        if sign.letter in SCORE_REASONS
        and (row := InfluenceRow(SCORE_REASONS[sign.letter], "", sign.times)).is_seen
    ]
    distance = sum(each.cases * abs(each.predicted - each.share) for each in bins) / max(asked, 1)
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


@router.get("/ads/statement.csv")
async def download_statement(request: Request, caller: PageCaller) -> StreamingResponse:
    """Payments and charges of the ad accounts by day, with what was left after each."""
    require(caller, Permission.READ_REPORTS)

    def work(tx: Tx) -> list[list[str]]:
        head = "ad account,currency,day,ad group,note,views,clicks,amount,balance,marketplace,placement"
        lines = [head.split(",")]
        markets = {
            admission.operator_id: admission
            for admission in list_admissions_of_business(tx, caller.business_id)
        }
        for account in list_ad_accounts(tx, caller.business_id):
            if not may_use(caller, account.id):
                continue
            statement = load_statement(tx, account)
            groups = _group_names(tx, account)
            for line in statement:
                lines.append([
                    str(account.number), account.currency, line.day,
                    groups.get(line.ad_group_id, line.ad_group_id), line.note,
                    str(line.views), str(line.clicks), f"{line.micros / MICROS:.6f}",
                    f"{line.balance_micros / MICROS:.6f}", "", "",
                ])  # fmt: skip
            for balance in list_balances_of_accounts(tx, caller.business_id, [account.id]):
                market = markets[balance.operator_id].operator_name
                for number, currency, day, placement, *rest in statement_rows(tx, balance, names, groups):
                    lines.append([number, currency, day, *rest, market, placement])
        return lines

    db = context_of(request).db
    used = await db.read(lambda tx: list_used_placements(tx, caller.business_id))
    with acting(""):  # a placement is the operator's; of those that were paid for, the name is told
        names = await db.read(lambda tx: list_placement_names(tx, used))
    lines = csv_lines(await db.read_long(work, caller.business_id), bom=True)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _group_names(tx: Tx, account: AdAccount) -> dict[str, str]:
    """The names of an account's ad groups, also of those that were deleted."""
    node_filter = NodeFilter(statuses=frozenset(NodeStatus))
    groups = list_ad_groups(tx, account.business_id, account.id, node_filter, Page(1, 1_000_000))
    return {group.id: group.name for group in groups}
