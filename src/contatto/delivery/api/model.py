"""Extension of the API: what was foretold of ads beside what came, and what the model goes by."""

from typing import Final

from fastapi import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.delivery.actions.foretelling import list_curves
from contatto.delivery.api.records import StatusQuery
from contatto.delivery.model.foretold import Bin, Curve, LossOfDay, Question
from contatto.delivery.model.influences import Influence, Source, ValueOdds
from contatto.delivery.rules.asking import OURS
from contatto.delivery.store.foretold import find_influences
from contatto.delivery.store.models import find_newest_version
from contatto.kit.api_types import Answer, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["Extensions"])


class BinInfo(Answer, frozen=True):
    """About a tenth of the estimates: their mean, the share that came and its 95 % interval, 0 to 1."""

    cases: int
    came: int
    foretold: float
    share: float
    low: float
    high: float


class LossInfo(Answer, frozen=True):
    """The mean log loss of a day (UTC), and of who knows the rate of all days alone; in nats."""

    day: str
    cases: int
    came: int
    log_loss: float
    log_loss_of_rate: float


class CurveInfo(Answer, frozen=True):
    """How the estimates of one question did in the last 28 days.

    ``question`` is click (of views), conversation (of clicks), lead or spam (of conversations); ``expected``
    is how many were foretold, ``calibration_error`` the mean distance of foretold and came over the bins.
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
    """A value of a field that many viewers have, and by what it multiplies the odds on average."""

    value: str
    times: float


class InfluenceInfo(Answer, frozen=True):
    """What estimates go by; ``times`` is by what it typically multiplies or divides the odds.

    ``name`` is that of a field of requests (field) or of ads (ad_field).
    """

    question: Question
    source: Source
    name: str
    times: float
    most: SaidInfo | None
    least: SaidInfo | None


class ModelInfo(Answer, frozen=True):
    """The newest model: its version (0 before there is one), its curves, and what it goes by.

    A token for some ad accounts is not told what the model goes by: it is learned from all of them.
    """

    version: int
    curves: list[CurveInfo]
    influences: list[InfluenceInfo]


@router.get("/contatto/delivery/model/get/", openapi_extra=describe_query(StatusQuery))
async def get_delivery_model(request: Request, caller: ApiCaller) -> Answered[ModelInfo]:
    """Extension: what was foretold of the ads of an account beside what came, and what the model goes by."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, StatusQuery)

    def work(tx: Tx) -> ModelInfo:
        account = load_advertiser(tx, caller, query.advertiser_id)
        business_id = account.business_id
        known = find_influences(tx, business_id) if caller.ad_account_ids is None else None
        return ModelInfo(
            find_newest_version(tx, business_id),
            [_curve_info(curve) for curve in list_curves(tx, business_id, [account.id])],
            [_influence_info(each) for each in known.found] if known else [],
        )

    return api_answer(await context_of(request).db.read_long(work), request_id_of(request))


def _curve_info(curve: Curve) -> CurveInfo:
    return CurveInfo(
        curve.question, curve.asked, curve.came, curve.expected, curve.loss, curve.of_rate, curve.distance,
        [_bin_info(each) for each in curve.bins], [_loss_info(day) for day in curve.days],
    )  # fmt: skip


def _bin_info(each: Bin) -> BinInfo:
    return BinInfo(each.asked, each.came, each.told, each.share, each.low, each.high)


def _loss_info(each: LossOfDay) -> LossInfo:
    return LossInfo(each.day, each.asked, each.came, each.loss, each.of_rate)


def _influence_info(each: Influence) -> InfluenceInfo:
    return InfluenceInfo(
        each.question, each.source, each.name.removeprefix(OURS), each.times,
        _said_info(each.most), _said_info(each.least),
    )  # fmt: skip


def _said_info(said: ValueOdds | None) -> SaidInfo | None:
    return None if said is None else SaidInfo(said.value, said.times)
