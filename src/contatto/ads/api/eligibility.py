"""Our extension: whether a goal is available, and which check fails where."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.publishing import choose_account, load_facts
from contatto.ads.api.schemas import EligibilityQuery
from contatto.ads.model import Check, NextStep
from contatto.ads.rules import goals
from contatto.ads.rules.goals import OPTIMIZATION_GOALS, eligibility, goal_of
from contatto.ads.rules.targeting import LEAD_MARKETS_ON, countries_of, normal_countries
from contatto.kit.api_types import Answer, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

eligibility_router: Final = ApiRouter(prefix="/open_api/v1.3/contatto/eligibility", tags=["Extensions"])


class CheckInfo(Answer, frozen=True):
    """One of the three country checks."""

    check: Check
    passed: bool
    countries: list[str]
    failing_countries: list[str]


class Eligibility(Answer, frozen=True):
    """Eligibility of a goal, with the steps that remain; ``markets_as_of`` is a day."""

    eligible: bool
    optimization_goal: str
    identity_id: str
    checks: list[CheckInfo]
    next_steps: list[NextStep]
    markets_as_of: str


@eligibility_router.get("/check/", openapi_extra=describe_query(EligibilityQuery))
async def check_eligibility(request: Request, caller: ApiCaller) -> Answered[Eligibility]:
    """Extension: the three country checks of a goal, and what is still to do before it can be used."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, EligibilityQuery)
    goal = goal_of(query.optimization_goal, query.promotion_type)
    countries = normal_countries((*countries_of(query.location_ids), *query.countries))

    def work(tx: Tx) -> Eligibility:
        account = load_advertiser(tx, caller, query.advertiser_id)
        channel = choose_account(tx, account, countries, goal, query.identity_id)
        facts = load_facts(tx, account, channel, countries)
        checks = eligibility(goal, facts)
        return Eligibility(
            eligible=all(result.passed for result in checks),
            optimization_goal=OPTIMIZATION_GOALS[goal],
            identity_id=channel.id,
            checks=[
                CheckInfo(result.check, result.passed, list(result.countries), list(result.failing))
                for result in checks
            ],
            next_steps=list(goals.next_steps(goal, facts)),
            markets_as_of=LEAD_MARKETS_ON.isoformat(),
        )

    return api_answer(await context_of(request).db.read(work), request_id_of(request))
