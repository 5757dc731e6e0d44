"""What can be targeted, in the API v1.3: regions, languages and interests."""

from typing import Any, Final, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.rules.cities import CITIES, Place
from contatto.ads.rules.countries import country_name
from contatto.ads.rules.markets import LEAD_MARKETS
from contatto.ads.rules.places import LOCATION_IDS
from contatto.ads.rules.targeting import INTERESTS, LANGUAGES
from contatto.kit.api_types import ApiId, ApiModel, describe_query, read_query, request_id_of
from contatto.kit.http import api_answer
from contatto.ui.context import context_of

router: Final = APIRouter(prefix="/open_api/v1.3", tags=["Targeting"])


class RegionQuery(ApiModel):
    """Fields that TikTok needs here, such as ``placements``, are accepted and do not narrow the list."""

    advertiser_id: ApiId
    level_range: Literal["ALL", "TO_COUNTRY", "TO_PROVINCE", "TO_CITY", "TO_DISTRICT"] = "ALL"


class SearchRegionQuery(ApiModel):
    advertiser_id: ApiId
    keyword: str = ""


class ToolQuery(ApiModel):
    """Fields that TikTok takes here, such as ``language``, are accepted: the names are in English."""

    advertiser_id: ApiId


@router.get("/tool/region/", openapi_extra=describe_query(RegionQuery))
async def get_regions(request: Request, caller: ApiCaller) -> Response:
    """List countries, and below them the cities that are known; ids are those of GeoNames."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, RegionQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = _rows()
    if query.level_range == "TO_COUNTRY":
        rows = [row for row in rows if row["level"] == "COUNTRY"]
    return api_answer({"region_info": rows}, request_id_of(request))


@router.get("/search/region/", openapi_extra=describe_query(SearchRegionQuery))
async def search_regions(request: Request, caller: ApiCaller) -> Response:
    """Find regions whose name contains the keyword; all of them without one."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, SearchRegionQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    wanted = query.keyword.casefold()
    rows = [row for row in _rows() if wanted in row["name"].casefold()]
    return api_answer({"region_list": rows, "region_info": rows}, request_id_of(request))


@router.get("/tool/language/", openapi_extra=describe_query(ToolQuery))
async def get_languages(request: Request, caller: ApiCaller) -> Response:
    """List the languages that ad groups can choose: ISO 639 codes, each with its own name for itself."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ToolQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = [{"code": code, "name": name} for code, name in LANGUAGES.items()]
    return api_answer({"languages": rows}, request_id_of(request))


@router.get("/tool/interest_category/", openapi_extra=describe_query(ToolQuery))
async def get_interest_categories(request: Request, caller: ApiCaller) -> Response:
    """List the interests that ad groups can choose; they have one level."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ToolQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = [
        {
            "interest_category_id": number,
            "interest_category_name": name,
            "level": 1,
            "sub_category_ids": [],
            "placements": ["PLACEMENT_TIKTOK"],
        }
        for number, name in INTERESTS.items()
    ]
    return api_answer({"interest_categories": rows}, request_id_of(request))


async def _check_advertiser(request: Request, caller: Caller, number: int) -> None:
    await context_of(request).db.read(lambda tx: load_advertiser(tx, caller, number))


def _rows() -> list[dict[str, Any]]:
    return [_country(code) for code in LOCATION_IDS] + [_city(place) for place in CITIES]


def _country(code: str) -> dict[str, Any]:
    below = [place.location_id for place in CITIES if place.country == code]
    named = (LOCATION_IDS[code], country_name(code), "COUNTRY", code)
    return _row(named, "0", below)


def _city(place: Place) -> dict[str, Any]:
    named = (place.location_id, place.name, "CITY", place.country)
    return _row(named, LOCATION_IDS[place.country], [])


def _row(named: tuple[str, str, str, str], parent_id: str, below: list[str]) -> dict[str, Any]:
    location_id, name, level, code = named
    return {
        "location_id": location_id,
        "name": name,
        "level": level,
        "region_code": code,
        "parent_id": parent_id,
        "next_level_ids": below,
        "lead_goal_available": code in LEAD_MARKETS,
    }
