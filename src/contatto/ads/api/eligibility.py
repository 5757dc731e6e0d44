"""Our extension: whether a goal is available, and which check fails where."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import choose_account, load_facts
from contatto.ads.api.schemas import EligibilityQuery
from contatto.ads.rules import goals
from contatto.ads.rules.markets import LEAD_MARKETS_ON, normal_countries
from contatto.ads.rules.places import countries_of
from contatto.kit.api_types import describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import api_answer
from contatto.ui.context import context_of

router: Final = APIRouter(prefix="/open_api/v1.3/contatto/eligibility", tags=["Extensions"])


@router.get("/check/", openapi_extra=describe_query(EligibilityQuery))
async def check_eligibility(request: Request, caller: ApiCaller) -> Response:
    """Extension: the three country checks of a goal, and what is still to do before it can be used."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, EligibilityQuery)
    goal = goals.goal_of(query.optimization_goal, query.promotion_type)
    countries = normal_countries((*countries_of(query.location_ids), *query.countries))

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, query.advertiser_id)
        channel = choose_account(tx, account, countries, goal, query.identity_id)
        facts = load_facts(tx, account, channel, countries)
        checks = goals.eligibility(goal, facts)
        return {
            "eligible": all(result.passed for result in checks),
            "optimization_goal": goals.OPTIMIZATION_GOALS[goal],
            "identity_id": channel.id,
            "checks": [
                {
                    "check": result.check,
                    "passed": result.passed,
                    "countries": list(result.countries),
                    "failing_countries": list(result.failing),
                }
                for result in checks
            ],
            "next_steps": list(goals.next_steps(goal, facts)),
            "markets_as_of": LEAD_MARKETS_ON.isoformat(),
        }

    return api_answer(await context_of(request).db.read(work), request_id_of(request))
