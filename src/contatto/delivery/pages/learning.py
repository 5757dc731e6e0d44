"""Delivery in the Ads Manager: how far ad groups have learned, and why an ad was shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import may_use, require
from contatto.accounts.store import list_ad_accounts
from contatto.ads.actions.publishing import name_ads
from contatto.ads.model import NodeFilter, NodeStatus, Page
from contatto.ads.store import list_ad_groups, list_ads_by_number
from contatto.delivery.actions.expecting import list_outlooks
from contatto.delivery.actions.explaining import explain_decision
from contatto.delivery.actions.packing import read_record
from contatto.delivery.actions.trials import CampaignLift, list_lifts
from contatto.delivery.model.log import Hurdle
from contatto.delivery.model.phases import GroupState, Phase, Reason
from contatto.delivery.pages.influences import FIELDS
from contatto.delivery.store import ledger, models
from contatto.delivery.store.log import list_decisions
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, LazyText
from contatto.kit.numbers import read_number
from contatto.kit.timestamps import from_micros
from contatto.operators.store import list_placement_names
from contatto.ui.context import context_of

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
