"""Extensions of the API: how far ad groups learned, what that brought, why an ad was shown, balances."""

from typing import Annotated, Final, Literal

from fastapi import Request
from pydantic import Field

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.ads.model import NodeFilter, Page
from contatto.ads.store import (
    find_ad_by_number,
    find_ad_group,
    find_ad_group_by_number,
    list_ad_groups,
)
from contatto.delivery.actions.expecting import expect_of
from contatto.delivery.actions.explaining import Verdict, explain_decision
from contatto.delivery.actions.trials import CampaignLift, list_lifts
from contatto.delivery.model.ledger import Balance
from contatto.delivery.model.phases import GroupState, Phase, Reason
from contatto.delivery.rules.asking import OURS
from contatto.delivery.rules.trials import Arm
from contatto.delivery.store import ledger, models
from contatto.kit import errors
from contatto.kit.api_types import Answer, ApiId, ApiModel, Rows, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.kit.numbers import MICROS, to_micros
from contatto.kit.openapi import ApiRouter
from contatto.measurement.model import Goal
from contatto.operators.model import OperatorBalance
from contatto.operators.store import list_admissions_of_business, list_balances_of_accounts
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["Extensions"])


class StatusQuery(ApiModel):
    advertiser_id: ApiId


class LearningInfo(Answer, frozen=True):
    """How far an ad group has learned; ``needed`` is how many conversions it takes."""

    adgroup_id: str
    phase: Phase
    reasons: list[Reason]
    conversions: int
    needed: int
    impressions: int
    clicks: int
    conversations: int
    spam: int
    leads: int
    predicted_leads: float


class LearningList(Rows[LearningInfo], frozen=True):
    pass


@router.get("/contatto/delivery/status/get/", openapi_extra=describe_query(StatusQuery))
async def get_delivery_status(request: Request, caller: ApiCaller) -> Answered[LearningList]:
    """Extension: the learning phase of each ad group of an ad account, and why it has not learned."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, StatusQuery)

    def work(tx: Tx) -> LearningList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        groups = list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page())
        states = {state.number: state for state in models.list_states(tx, account.business_id)}
        return LearningList([_learning(group.number, states.get(group.number)) for group in groups])

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _learning(number: int, state: GroupState | None) -> LearningInfo:
    if state is None:
        return LearningInfo(str(number), Phase.LEARNING, [], 0, 0, 0, 0, 0, 0, 0, 0.0)
    return LearningInfo(
        str(number), state.phase, state.reasons, state.earned, state.needed, state.views, state.clicks,
        state.conversations, state.spam, state.leads, state.predicted_leads,
    )  # fmt: skip


class ArmInfo(Answer, frozen=True):
    """What one way of choosing ads showed, cost and brought; money is in the account's currency."""

    impressions: int
    spend: float
    conversions: int
    cost_per_conversion: float | None


class LiftInfo(Answer, frozen=True):
    """What learning brought to the ad groups of one goal in a campaign, in the last 28 days.

    ``lift`` is 0.23 for 23 % more conversions in the same number of views than with ads drawn by lot, at
    the same prices; ``low`` and ``high`` are its 95 % interval. All are null as long as there is too
    little: then so many conversions are ``missing`` of those served by lot, or of the others. Without a
    ``campaign_id``: all campaigns.
    """

    campaign_id: str
    goal: Goal
    lift: float | None
    low: float | None
    high: float | None
    missing_by_lot: int
    missing_learned: int
    learned: ArmInfo
    by_lot: ArmInfo


class LiftList(Rows[LiftInfo], frozen=True):
    pass


@router.get("/contatto/delivery/lift/get/", openapi_extra=describe_query(StatusQuery))
async def get_delivery_lift(request: Request, caller: ApiCaller) -> Answered[LiftList]:
    """Extension: how many more conversions each campaign had than ads drawn by lot, with its interval."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, StatusQuery)

    def work(tx: Tx) -> LiftList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        return LiftList([_lift_info(lift) for lift in list_lifts(tx, account)])

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _lift_info(measured: CampaignLift) -> LiftInfo:
    campaign, lift = measured.campaign, measured.lift
    return LiftInfo(
        "" if campaign is None else str(campaign.number), measured.goal, lift.lift, lift.low, lift.high,
        *lift.missing, _arm_info(measured.learned), _arm_info(measured.by_lot),
    )  # fmt: skip


def _arm_info(arm: Arm) -> ArmInfo:
    cost = arm.cost_micros
    return ArmInfo(
        arm.views, _units(arm.spend_micros), arm.conversions, None if cost is None else _units(cost)
    )


class ExpectedQuery(ApiModel):
    """``budget`` is in the account's currency, for any number of days."""

    advertiser_id: ApiId
    adgroup_id: ApiId
    budget: Annotated[float, Field(gt=0, le=1e9)]


class ExpectedInfo(Answer, frozen=True):
    """Conversions that a budget is expected to bring: in eight of ten cases from ``low`` to ``high``.

    All are null where there is nothing to go by yet.
    """

    adgroup_id: str
    goal: Goal
    low: int | None
    expected: float | None
    high: int | None


@router.get("/contatto/delivery/expected/get/", openapi_extra=describe_query(ExpectedQuery))
async def get_expected_results(request: Request, caller: ApiCaller) -> Answered[ExpectedInfo]:
    """Extension: what a budget is expected to bring an ad group, by what conversions cost lately."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ExpectedQuery)

    def work(tx: Tx) -> ExpectedInfo:
        account = load_advertiser(tx, caller, query.advertiser_id)
        group = find_ad_group_by_number(tx, account.business_id, query.adgroup_id)
        if group is None or group.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND)
        expected = expect_of(tx, account, group, to_micros(query.budget))
        low, middle, high = (expected.low, expected.middle, expected.high) if expected else (None, None, None)
        return ExpectedInfo(str(group.number), group.goal, low, middle, high)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


class DecisionQuery(ApiModel):
    """``decision_id`` is that of the answer; ``ad_id`` is the ad that is meant, by default the winner."""

    advertiser_id: ApiId
    decision_id: ApiId
    ad_id: ApiId | None = None


class FeatureInfo(Answer, frozen=True):
    """By what a feature of the request multiplied the chance that the ad that was shown brings a lead."""

    feature: str
    factor: float


class DecisionInfo(Answer, frozen=True):
    """Why an ad was shown, or was not. Prices are for a thousand views, in the account's currency.

    ``reason`` says why an ad was left out. What another ad account of the business offered is not told.
    ``placement`` is the id of a marketplace's placement, and ``to_beat`` the least offer that would have won
    it from other businesses.
    """

    decision_id: str
    ad_id: str
    verdict: Verdict
    reason: str
    is_reproduced: bool
    model_version: int
    offer: float | None
    price: float
    floor: float
    placement: str
    to_beat: float
    p_click: float | None
    p_conversation: float | None
    p_lead: float | None
    p_spam: float | None
    propensity: float | None
    features: list[FeatureInfo]


@router.get("/contatto/delivery/decision/get/", openapi_extra=describe_query(DecisionQuery))
async def get_decision(request: Request, caller: ApiCaller) -> Answered[DecisionInfo]:
    """Extension: why an ad was shown, or why another one was not; the decision is made again for it."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, DecisionQuery)

    def work(tx: Tx) -> DecisionInfo:
        account = load_advertiser(tx, caller, query.advertiser_id)
        explanation = explain_decision(tx, account.business_id, query.decision_id)
        record = explanation.record
        ad = find_ad_by_number(tx, account.business_id, query.ad_id or record.ad)
        if ad is None or ad.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND)
        group = find_ad_group(tx, account.business_id, ad.ad_group_id)
        verdict, reason = explanation.verdict_of(ad.number, 0 if group is None else group.number)
        is_shown, explained = verdict is Verdict.SHOWN, explanation.explained
        offer = None if explained is None else explained.offers.get(ad.number)
        click, conversation, lead, spam = record.p[:4] if is_shown else (None, None, None, None)
        features = explained.features if explained is not None and is_shown else {}
        return DecisionInfo(
            str(record.nonce), str(ad.number), verdict, reason,
            explained is not None and explained.is_same, record.version,
            None if offer is None else _units(offer), _units(record.price_micros),
            _units(record.floor_micros), record.placement, _units(record.to_beat_micros),
            click, conversation, lead, spam,
            record.propensity if is_shown else None,
            [FeatureInfo(name.removeprefix(OURS), factor) for name, factor in features.items()],
        )  # fmt: skip

    return api_answer(await context_of(request).db.read_long(work), request_id_of(request))


class BalanceInfo(Answer, frozen=True):
    """What an ad account has, in its currency; LIMITED: it is charged no more than this and its credit.

    ``marketplace`` names the operator in whose placements it pays; empty for places of the business's own.
    """

    advertiser_id: str
    currency: str
    mode: Literal["LIMITED", "OPEN"]
    balance: float
    paid_in: float
    charged: float
    credit: float
    marketplace: str


class BalanceList(Rows[BalanceInfo], frozen=True):
    pass


@router.get("/advertiser/balance/get/", openapi_extra=describe_query(StatusQuery))
async def get_balance(request: Request, caller: ApiCaller) -> Answered[BalanceList]:
    """Show what an ad account paid in, was charged and has left: itself, and with each marketplace."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, StatusQuery)

    def work(tx: Tx) -> BalanceList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        own = ledger.find_balance(tx, account.business_id, account.id)
        names = {
            admission.operator_id: admission.operator_name
            for admission in list_admissions_of_business(tx, account.business_id)
        }
        balances = list_balances_of_accounts(tx, account.business_id, [account.id])
        rows = [_balance_info(account, own, "OPEN" if not own.is_limited else "LIMITED", "")]
        rows += [
            _balance_info(account, balance, "LIMITED", names[balance.operator_id]) for balance in balances
        ]
        return BalanceList(rows)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _balance_info(
    account: AdAccount, found: Balance | OperatorBalance, mode: Literal["LIMITED", "OPEN"], marketplace: str
) -> BalanceInfo:
    return BalanceInfo(
        str(account.number), account.currency, mode, _units(found.left_micros),
        _units(found.paid_in_micros), _units(found.charged_micros), _units(found.credit_micros), marketplace,
    )  # fmt: skip


def _units(amount_micros: int) -> float:
    return amount_micros / MICROS
