"""The API of delivery: ad decisions, learning phases, lift, explanations, balances and the model."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import DirectRoute, api_routes, load_advertiser, require
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.ads.model import Ad, AdGroup, NodeFilter, Page
from contatto.ads.store import find_node, list_nodes
from contatto.audiences.actions import blind_digests
from contatto.audiences.model import Fingerprint
from contatto.delivery.actions.results import Verdict, explain_decision, forecast_ad_group, list_lifts
from contatto.delivery.actions.serving import AdServer, RecentCallers, serve_ad, serve_placement
from contatto.delivery.actions.training import list_curves
from contatto.delivery.rules import OURS, AdRequest
from contatto.delivery.store import find_newest_version, list_influences, list_states
from contatto.kit import errors
from contatto.kit.api_types import Answer, ApiId, ApiModel, Rows, json_answer, read_body, refusal_answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.values import JSON_ERRORS, MICROS, to_micros
from contatto.learning.model import InfluenceSource, Phase, Question, Reason
from contatto.measurement.model import Goal
from contatto.measurement.rules import TRACKING_KEY
from contatto.operators.store import find_balance, list_admissions_of_business, list_limited_balances
from contatto.ui.requests import context_of, part_of

BODY_LIMIT: Final = 8 * 1024

type Viewer = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
type Country = Annotated[str, msgspec.Meta(min_length=2, max_length=3)]
type AccountId = Annotated[str, msgspec.Meta(max_length=36)]
type Language = Annotated[str, msgspec.Meta(min_length=2, max_length=35)]
type Age = Annotated[int, msgspec.Meta(ge=0, le=150)]
type Interests = Annotated[
    frozenset[Annotated[str, msgspec.Meta(max_length=36)]], msgspec.Meta(max_length=200)
]
type Digests = Annotated[
    frozenset[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]], msgspec.Meta(max_length=20)
]

type Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
type Value = Annotated[str, msgspec.Meta(max_length=128)]
type Feature = Value | float | bool | Annotated[list[Value], msgspec.Meta(max_length=32)] | None
type Features = Annotated[dict[Name, Feature], msgspec.Meta(max_length=40)]
type Floor = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class DecisionBody(msgspec.Struct):
    """The body of a decision request; unknown fields are ignored.

    ``features`` are facts of the publisher on the viewer and the placement: texts, numbers or lists of texts
    under any name. Without ``consent``, neither they nor the viewer's history are used. ``floor_micros`` is
    the reserve price of a thousand views. An operator names one of its placements in ``placement``, by id or
    name.
    """

    viewer_id: Viewer
    country: Country
    channel_account_id: AccountId | None = None
    language: Language | None = None
    age: Age | None = None
    interest_category_ids: Interests | None = None
    digests: Digests = frozenset()
    placement: Name | None = None
    device: Name | None = None
    features: Features = {}
    consent: bool = False
    floor_micros: Floor = 0


_decode = msgspec.json.Decoder(DecisionBody).decode


async def decide_ad(request: Request) -> Response:
    """Run the auction for a viewer, and return the ad that won, or null."""
    try:
        caller = await part_of(request, RecentCallers).caller_of(request)
        require(caller, Permission.READ_ADS)
        try:
            body = _decode(await read_body(request, BODY_LIMIT))
        except msgspec.ValidationError as error:
            raise Refused(errors.INVALID, str(error)) from error
        except JSON_ERRORS as error:
            raise Refused(errors.UNREADABLE) from error
        if not body.viewer_id.isprintable():
            raise Refused(errors.INVALID, "viewer_id: give printable characters only.")
        context = context_of(request)
        signer, at = context.vault.signer(TRACKING_KEY), context.clock.now()
        server = part_of(request, AdServer)

        def blind_for(business_id: str) -> Iterable[Fingerprint]:
            return blind_digests(context.vault, business_id, body.digests)

        market = await server.operators.snapshots.get(caller.business_id)
        ad_request = AdRequest(
            body.viewer_id,
            body.country,
            body.channel_account_id,
            body.language and body.language.partition("-")[0].lower(),
            body.age,
            body.interest_category_ids,
            frozenset(blind_for(caller.business_id) if market is None else ()),
            caller.ad_account_ids,
            body.placement or "",
            body.device or "",
            body.features,
            body.consent,
            body.floor_micros,
        )
        if market is None:
            served = await serve_ad(server, caller.business_id, ad_request, at, signer)
        else:
            served = await serve_placement(server, market, ad_request, blind_for, at, signer)
    except Refused as refused:
        return refusal_answer(refused, getattr(request.state, "request_id", ""))
    return json_answer({"ad": served})


routes = [DirectRoute("POST", "/delivery/decide", decide_ad, Access(Credential.PROGRAM, Permission.READ_ADS))]


router: Final = api_routes("Extensions")


class StatusQuery(ApiModel):
    advertiser_id: ApiId


class LearningInfo(Answer, frozen=True):
    """Learning phase of an ad group; ``needed`` is the number of conversions that learning takes."""

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


@router.transact("/contatto/delivery/status/get/", Permission.READ_ADS)
def get_delivery_status(tx: Tx, caller: Caller, query: StatusQuery) -> LearningList:
    """Extension: the learning phase of each ad group of an ad account, and why it has not learned."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    groups = list_nodes(tx, AdGroup, account.business_id, account.id, NodeFilter(), Page())
    states = {state.number: state for state in list_states(tx, account.business_id)}
    rows: list[LearningInfo] = []
    for group in groups:
        state = states.get(group.number)
        info = LearningInfo(str(group.number), Phase.LEARNING, [], 0, 0, 0, 0, 0, 0, 0, 0.0)
        if state is not None:
            info = LearningInfo(
                str(group.number), state.phase, state.reasons, state.earned, state.needed, state.views,
                state.clicks, state.conversations, state.spam, state.leads, state.predicted_leads,
            )  # fmt: skip
        rows.append(info)
    return LearningList(rows)


class ArmInfo(Answer, frozen=True):
    """Results of one way of choosing ads; money is in the account's currency."""

    impressions: int
    spend: float
    conversions: int
    cost_per_conversion: float | None


class LiftInfo(Answer, frozen=True):
    """Lift of learning for the ad groups of one goal in a campaign, in the last 28 days.

    ``lift`` is 0.23 for 23 % more conversions in the same number of views than with random ads, at the same
    prices; ``low`` and ``high`` are its 95 % interval. All are null with too few conversions: then
    ``missing_by_lot`` and ``missing_learned`` count those that the random and the learned arm still need.
    Without a ``campaign_id``: all campaigns.
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


@router.transact("/contatto/delivery/lift/get/", Permission.READ_ADS)
def get_delivery_lift(tx: Tx, caller: Caller, query: StatusQuery) -> LiftList:
    """Extension: how many more conversions each campaign had than with random ads, with its interval."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    rows = []
    for result in list_lifts(tx, account):
        campaign, lift = result.campaign, result.lift
        learned, random = (
            ArmInfo(
                arm.views,
                _units(arm.spend_micros),
                arm.conversions,
                None if arm.cost_micros is None else _units(arm.cost_micros),
            )
            for arm in (result.learned, result.random)
        )
        rows.append(LiftInfo(
            "" if campaign is None else str(campaign.number), result.goal, lift.lift, lift.low, lift.high,
            *lift.missing, learned, random,
        ))  # fmt: skip
    return LiftList(rows)


class ExpectedQuery(ApiModel):
    """``budget`` is in the account's currency, for any number of days."""

    advertiser_id: ApiId
    adgroup_id: ApiId
    budget: Annotated[float, Field(gt=0, le=1e9)]


class ExpectedInfo(Answer, frozen=True):
    """Conversions that a budget brings, with an 80 % interval from ``low`` to ``high``.

    All are null without enough data.
    """

    adgroup_id: str
    goal: Goal
    low: int | None
    expected: float | None
    high: int | None


@router.transact("/contatto/delivery/expected/get/", Permission.READ_ADS)
def get_expected_results(tx: Tx, caller: Caller, query: ExpectedQuery) -> ExpectedInfo:
    """Extension: the conversions that a budget brings an ad group, by their recent cost."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    group = find_node(tx, AdGroup, account.business_id, number=query.adgroup_id)
    if group is None or group.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND)
    expected = forecast_ad_group(tx, account, group, to_micros(query.budget))
    low, middle, high = (expected.low, expected.middle, expected.high) if expected else (None, None, None)
    return ExpectedInfo(str(group.number), group.goal, low, middle, high)


class DecisionQuery(ApiModel):
    """``decision_id`` comes from the decision; ``ad_id`` chooses one of its ads, by default the winner."""

    advertiser_id: ApiId
    decision_id: ApiId
    ad_id: ApiId | None = None


class FeatureInfo(Answer, frozen=True):
    """Factor of a feature of the request in the probability that the shown ad brings a lead."""

    feature: str
    factor: float


class DecisionInfo(Answer, frozen=True):
    """Why an ad was shown, or was not. Prices are for a thousand views, in the account's currency.

    ``reason`` says why an ad was left out. Offers of other ad accounts are not shown. ``placement`` is the
    id of a marketplace's placement, and ``to_beat`` the least offer that would have won it from other
    businesses.
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


@router.transact("/contatto/delivery/decision/get/", Permission.READ_ADS, is_long=True)
def get_decision(tx: Tx, caller: Caller, query: DecisionQuery) -> DecisionInfo:
    """Extension: why an ad was shown, or why another one was not; this replays the decision."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    explanation = explain_decision(tx, account.business_id, query.decision_id)
    record = explanation.record
    ad = find_node(tx, Ad, account.business_id, number=query.ad_id or record.ad)
    if ad is None or ad.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND)
    group = find_node(tx, AdGroup, account.business_id, id=ad.ad_group_id)
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


class BalanceInfo(Answer, frozen=True):
    """Balance of an ad account in its currency; LIMITED: charges stop at this and its credit.

    ``marketplace`` names the operator of the placements that it pays; empty for the business's own places.
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


@router.transact("/advertiser/balance/get/", Permission.READ_ADS)
def get_balance(tx: Tx, caller: Caller, query: StatusQuery) -> BalanceList:
    """Show payments, charges and the balance of an ad account: its own, and those with marketplaces."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    own = find_balance(tx, account.business_id, account.id)
    names = {
        admission.operator_id: admission.operator_name
        for admission in list_admissions_of_business(tx, account.business_id)
    }
    limited = list_limited_balances(tx, account.business_id, [account.id])
    balances = [own, *(balance for balance in limited if balance.operator_id)]
    return BalanceList([
        BalanceInfo(
            str(account.number), account.currency, "LIMITED" if balance.is_limited else "OPEN",
            _units(balance.left_micros), _units(balance.paid_in_micros), _units(balance.charged_micros),
            _units(balance.credit_micros), names[balance.operator_id] if balance.operator_id else "",
        )
        for balance in balances
    ])  # fmt: skip


def _units(amount_micros: int) -> float:
    return amount_micros / MICROS


class BinInfo(Answer, frozen=True):
    """About a tenth of the predictions: their mean, the actual share and its 95 % interval, 0 to 1.

    ``came`` counts the actual outcomes; ``share`` is ``came`` divided by ``cases``.
    """

    cases: int
    came: int
    foretold: float
    share: float
    low: float
    high: float


class LossInfo(Answer, frozen=True):
    """Mean log loss of a day (UTC), and of the constant rate of all days; in nats.

    ``came`` counts the actual outcomes among the cases.
    """

    day: str
    cases: int
    came: int
    log_loss: float
    log_loss_of_rate: float


class CurveInfo(Answer, frozen=True):
    """Quality of the predictions of one question in the last 28 days.

    ``question`` is click (of views), conversation (of clicks), lead or spam (of conversations); ``expected``
    is the predicted number, ``came`` the actual one. ``calibration_error`` is the mean difference between
    predicted and actual shares over the bins.
    """

    question: Question
    cases: int
    came: int
    expected: float
    log_loss: float
    log_loss_of_rate: float
    calibration_error: float
    bins: list[BinInfo]
    days: list[LossInfo]


class SaidInfo(Answer, frozen=True):
    """A frequent value of a field, and its average factor in the odds."""

    value: str
    times: float


class InfluenceInfo(Answer, frozen=True):
    """An influence on predictions; ``times`` is its typical factor in the odds, up or down.

    ``name`` is that of a field of requests (field) or of ads (ad_field).
    """

    question: Question
    source: InfluenceSource
    name: str
    times: float
    most: SaidInfo | None
    least: SaidInfo | None


class ModelInfo(Answer, frozen=True):
    """The newest model: its version (0 before there is one), its curves, and influences on predictions.

    A token for some ad accounts gets no influences, because they are learned from all ad accounts.
    """

    version: int
    curves: list[CurveInfo]
    influences: list[InfluenceInfo]


@router.transact("/contatto/delivery/model/get/", Permission.READ_ADS, is_long=True)
def get_delivery_model(tx: Tx, caller: Caller, query: StatusQuery) -> ModelInfo:
    """Extension: predicted and actual outcomes of an account's ads, and influences on predictions."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    business_id = account.business_id
    influences = list_influences(tx, business_id) if caller.ad_account_ids is None else []
    curves = [
        CurveInfo(
            curve.question, curve.cases, curve.actual, curve.expected, curve.loss, curve.of_rate,
            curve.distance,
            [
                BinInfo(row.cases, row.actual, row.predicted, row.share, row.low, row.high)
                for row in curve.bins
            ],
            [LossInfo(day.day, day.cases, day.actual, day.loss, day.of_rate) for day in curve.days],
        )
        for curve in list_curves(tx, business_id, [account.id])
    ]  # fmt: skip
    rows = []
    for influence in influences:
        most, least = (
            None if odds is None else SaidInfo(odds.value, odds.times)
            for odds in (influence.most, influence.least)
        )
        name = influence.name.removeprefix(OURS)
        rows.append(InfluenceInfo(influence.question, influence.source, name, influence.times, most, least))
    return ModelInfo(find_newest_version(tx, business_id), curves, rows)
