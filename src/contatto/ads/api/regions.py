"""Targeting options of the API v1.3: regions, languages and interests."""

from typing import Final, Literal

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.rules.targeting import (
    CITIES,
    INTERESTS,
    LANGUAGES,
    LEAD_MARKETS,
    LOCATION_IDS,
    Place,
    country_name,
)
from contatto.kit.api_types import Answer, ApiId, ApiModel, describe_query, read_query, request_id_of
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

targeting_router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["Targeting"])


type RegionLevel = Literal["COUNTRY", "CITY"]


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


class RegionInfo(Answer, frozen=True):
    """A country or a city. Extension: whether the goal Lead is available there."""

    location_id: str
    name: str
    level: RegionLevel
    region_code: str
    parent_id: str
    next_level_ids: list[str]
    lead_goal_available: bool


class Regions(Answer, frozen=True):
    region_info: list[RegionInfo]


class FoundRegions(Answer, frozen=True):
    """The regions that were found, under both names that are in use."""

    region_list: list[RegionInfo]
    region_info: list[RegionInfo]


class LanguageInfo(Answer, frozen=True):
    code: str
    name: str


class Languages(Answer, frozen=True):
    languages: list[LanguageInfo]


class InterestInfo(Answer, frozen=True):
    interest_category_id: str
    interest_category_name: str
    level: int
    sub_category_ids: list[str]
    placements: list[Literal["PLACEMENT_TIKTOK"]]


class InterestCategories(Answer, frozen=True):
    interest_categories: list[InterestInfo]


@targeting_router.get("/tool/region/", openapi_extra=describe_query(RegionQuery))
async def get_regions(request: Request, caller: ApiCaller) -> Answered[Regions]:
    """List countries, and below them the cities that are known; ids are those of GeoNames."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, RegionQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = _rows()
    if query.level_range == "TO_COUNTRY":
        rows = [row for row in rows if row.level == "COUNTRY"]
    return api_answer(Regions(rows), request_id_of(request))


@targeting_router.get("/search/region/", openapi_extra=describe_query(SearchRegionQuery))
async def search_regions(request: Request, caller: ApiCaller) -> Answered[FoundRegions]:
    """Find regions whose name contains the keyword; all of them without one."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, SearchRegionQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    keyword = query.keyword.casefold()
    rows = [row for row in _rows() if keyword in row.name.casefold()]
    return api_answer(FoundRegions(rows, rows), request_id_of(request))


@targeting_router.get("/tool/language/", openapi_extra=describe_query(ToolQuery))
async def get_languages(request: Request, caller: ApiCaller) -> Answered[Languages]:
    """List the languages that ad groups can choose: ISO 639 codes, each with its own name for itself."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ToolQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = [LanguageInfo(code, name) for code, name in LANGUAGES.items()]
    return api_answer(Languages(rows), request_id_of(request))


@targeting_router.get("/tool/interest_category/", openapi_extra=describe_query(ToolQuery))
async def get_interest_categories(request: Request, caller: ApiCaller) -> Answered[InterestCategories]:
    """List the interests that ad groups can choose; they have one level."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ToolQuery)
    await _check_advertiser(request, caller, query.advertiser_id)
    rows = [InterestInfo(number, name, 1, [], ["PLACEMENT_TIKTOK"]) for number, name in INTERESTS.items()]
    return api_answer(InterestCategories(rows), request_id_of(request))


async def _check_advertiser(request: Request, caller: Caller, number: int) -> None:
    await context_of(request).db.read(lambda tx: load_advertiser(tx, caller, number))


def _rows() -> list[RegionInfo]:
    return [_country(code) for code in LOCATION_IDS] + [_city(place) for place in CITIES]


def _country(code: str) -> RegionInfo:
    below = [place.location_id for place in CITIES if place.country == code]
    return RegionInfo(
        location_id=LOCATION_IDS[code],
        name=country_name(code),
        level="COUNTRY",
        region_code=code,
        parent_id="0",
        next_level_ids=below,
        lead_goal_available=code in LEAD_MARKETS,
    )


def _city(place: Place) -> RegionInfo:
    return RegionInfo(
        location_id=place.location_id,
        name=place.name,
        level="CITY",
        region_code=place.country,
        parent_id=LOCATION_IDS[place.country],
        next_level_ids=[],
        lead_goal_available=place.country in LEAD_MARKETS,
    )
