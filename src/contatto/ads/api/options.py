"""Identities, welcome messages, regions, eligibility and audiences in the API v1.3."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request

from contatto.accounts.auth import ApiCaller, api_routes, load_advertiser
from contatto.accounts.model import Caller, Permission
from contatto.ads import store
from contatto.ads.actions.campaigns import choose_account, load_facts
from contatto.ads.actions.edits import create_welcome_message, delete_unused_audiences
from contatto.ads.api.campaigns import Ids
from contatto.ads.model import DIRECT_MESSAGE, Check, NextStep
from contatto.ads.rules import settings
from contatto.audiences.actions import finish_changes
from contatto.channels import store as channels
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.kit.api_types import (
    Answer,
    Answered,
    ApiId,
    ApiModel,
    IdText,
    JsonText,
    Listed,
    Nothing,
    PageInfo,
    PageQuery,
    TextId,
    TimeText,
    api_answer,
    api_time,
    page_info,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.ui.requests import context_of

targeting_router: Final = api_routes("Targeting")


type RegionLevel = Literal["COUNTRY", "CITY"]


class ToolQuery(ApiModel):
    """TikTok's other fields, such as ``language``, are accepted and ignored: names are in English."""

    advertiser_id: ApiId


class RegionQuery(ToolQuery):
    """TikTok's other fields, such as ``placements``, are accepted and do not narrow the list."""

    level_range: Literal["ALL", "TO_COUNTRY", "TO_PROVINCE", "TO_CITY", "TO_DISTRICT"] = "ALL"


class SearchRegionQuery(ToolQuery):
    keyword: str = ""


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
    """The matching regions, under both names that TikTok uses."""

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


_CITIES: Final = [
    RegionInfo(
        location_id=place.location_id,
        name=place.name,
        level="CITY",
        region_code=place.country,
        parent_id=settings.LOCATION_IDS[place.country],
        next_level_ids=[],
        lead_goal_available=place.country in settings.LEAD_MARKETS,
    )
    for place in settings.CITIES
]
_COUNTRIES: Final = [
    RegionInfo(
        location_id=location_id,
        name=settings.country_name(code),
        level="COUNTRY",
        region_code=code,
        parent_id="0",
        next_level_ids=[city.location_id for city in _CITIES if city.region_code == code],
        lead_goal_available=code in settings.LEAD_MARKETS,
    )
    for code, location_id in settings.LOCATION_IDS.items()
]


@targeting_router.transact("/tool/region/", Permission.READ_ADS)
def get_regions(tx: Tx, caller: Caller, query: RegionQuery) -> Regions:
    """List countries and their cities; ids are those of GeoNames."""
    load_advertiser(tx, caller, query.advertiser_id)
    return Regions(_COUNTRIES if query.level_range == "TO_COUNTRY" else [*_COUNTRIES, *_CITIES])


@targeting_router.transact("/search/region/", Permission.READ_ADS)
def search_regions(tx: Tx, caller: Caller, query: SearchRegionQuery) -> FoundRegions:
    """Find regions by a keyword in their names; all of them without one."""
    load_advertiser(tx, caller, query.advertiser_id)
    keyword = query.keyword.casefold()
    rows = [row for row in (*_COUNTRIES, *_CITIES) if keyword in row.name.casefold()]
    return FoundRegions(rows, rows)


@targeting_router.transact("/tool/language/", Permission.READ_ADS)
def get_languages(tx: Tx, caller: Caller, query: ToolQuery) -> Languages:
    """List the languages that ad groups can choose: ISO 639 codes, each with its native name."""
    load_advertiser(tx, caller, query.advertiser_id)
    return Languages([LanguageInfo(code, name) for code, name in settings.LANGUAGES.items()])


@targeting_router.transact("/tool/interest_category/", Permission.READ_ADS)
def get_interest_categories(tx: Tx, caller: Caller, query: ToolQuery) -> InterestCategories:
    """List the interests that ad groups can choose; they have one level."""
    load_advertiser(tx, caller, query.advertiser_id)
    rows = [
        InterestInfo(number, name, 1, [], ["PLACEMENT_TIKTOK"]) for number, name in settings.INTERESTS.items()
    ]
    return InterestCategories(rows)


eligibility_router: Final = api_routes("Extensions", "/contatto/eligibility")


class EligibilityQuery(ApiModel):
    """Target countries are given as location ids, as country codes, or as both."""

    advertiser_id: ApiId
    identity_id: TextId | None = None
    optimization_goal: str = "LEAD_GENERATION"
    promotion_type: str = DIRECT_MESSAGE
    location_ids: JsonText[tuple[TextId, ...]] = ()
    countries: JsonText[tuple[Annotated[str, Field(min_length=2, max_length=3)], ...]] = ()


class CheckInfo(Answer, frozen=True):
    """One of the three country checks."""

    check: Check
    passed: bool
    countries: list[str]
    failing_countries: list[str]


class Eligibility(Answer, frozen=True):
    """Eligibility of a goal, with the steps that remain; ``markets_as_of`` dates the list of markets."""

    eligible: bool
    optimization_goal: str
    identity_id: str
    checks: list[CheckInfo]
    next_steps: list[NextStep]
    markets_as_of: str


@eligibility_router.transact("/check/", Permission.READ_ADS)
def check_eligibility(tx: Tx, caller: Caller, query: EligibilityQuery) -> Eligibility:
    """Extension: the three country checks of a goal, and the remaining steps before it can be used."""
    goal = settings.goal_of(query.optimization_goal, query.promotion_type)
    countries = settings.normal_countries((*settings.countries_of(query.location_ids), *query.countries))
    account = load_advertiser(tx, caller, query.advertiser_id)
    channel = choose_account(tx, account, countries, goal, query.identity_id)
    facts = load_facts(tx, account, channel, countries)
    checks = settings.eligibility(goal, facts)
    return Eligibility(
        eligible=not any(result.failing for result in checks),
        optimization_goal=settings.OPTIMIZATION_GOALS[goal],
        identity_id=channel.id,
        checks=[
            CheckInfo(result.check, not result.failing, list(result.countries), list(result.failing))
            for result in checks
        ],
        next_steps=list(settings.next_steps(goal, facts)),
        markets_as_of=settings.LEAD_MARKETS_ON.isoformat(),
    )


identity_router: Final = api_routes("Identities", "/identity")
type IdentityType = Literal["TT_USER", "CUSTOMIZED_USER"]
TYPES: Final[Mapping[Platform, IdentityType]] = {
    Platform.TIKTOK: "TT_USER",
    Platform.WEBCHAT: "CUSTOMIZED_USER",
}
"""Identity types in the API by platform; accounts of other platforms are no identities."""


class IdentityQuery(PageQuery):
    advertiser_id: ApiId
    identity_type: Literal["TT_USER", "BC_AUTH_TT", "CUSTOMIZED_USER", "AUTH_CODE"] | None = None


class CreateIdentity(ApiModel):
    advertiser_id: ApiId
    display_name: Annotated[str, Field(min_length=1, max_length=100)]


class IdentityInfo(Answer, frozen=True):
    identity_id: str
    identity_type: IdentityType
    display_name: str
    username: str
    available_status: Literal["AVAILABLE"]
    country: str


class Identities(Answer, frozen=True):
    identity_list: list[IdentityInfo]
    page_info: PageInfo


class IdentityId(Answer, frozen=True):
    identity_id: str


@identity_router.transact("/get/", Permission.READ_ADS)
def get_identities(tx: Tx, caller: Caller, query: IdentityQuery) -> Identities:
    """List the accounts that ads can speak for: TikTok accounts, and chat pages as CUSTOMIZED_USER."""
    load_advertiser(tx, caller, query.advertiser_id)
    accounts = channels.list_accounts(tx, caller.business_id)
    rows = [
        IdentityInfo(
            identity_id=account.id,
            identity_type=TYPES[account.platform],
            display_name=account.name,
            username=account.handle,
            available_status="AVAILABLE",
            country=account.registration_country,
        )
        for account in accounts
        if account.platform in TYPES
    ]
    rows = [row for row in rows if query.identity_type in (None, row.identity_type)]
    first = (query.page - 1) * query.page_size
    shown = rows[first : first + query.page_size]
    return Identities(shown, page_info(query, len(rows)))


@identity_router.transact("/create/", Permission.WRITE_ADS)
def create_identity(tx: Tx, caller: Caller, body: CreateIdentity) -> IdentityId:
    """Make a web chat page with the country of the ad account; capture is off at first."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    new = NewAccount(Platform.WEBCHAT, "", body.display_name, "", account.country)
    return IdentityId(connect_account(tx, caller.business_id, new).id)


welcome_router: Final = api_routes("Welcome messages", "/creative/auto_message")
KIND: Final = "WELCOME_MESSAGE"


class SuggestedQuestion(ApiModel):
    question: str
    answer: str


class WelcomeBody(ApiModel):
    """Content of at most 200 characters with 1 to 3 questions of 70 and answers of 500 characters."""

    title: Annotated[str, Field(max_length=100)] = ""
    content: str
    suggested_questions: Annotated[list[SuggestedQuestion], Field(max_length=100)]


class CreateAutoMessage(ApiModel):
    advertiser_id: ApiId
    auto_message_type: Literal["WELCOME_MESSAGE"]
    welcome_message: WelcomeBody


class AutoMessageQuery(PageQuery):
    advertiser_id: ApiId
    auto_message_type: Literal["WELCOME_MESSAGE"] = "WELCOME_MESSAGE"
    auto_message_ids: JsonText[Ids | None] = None


class WelcomeQuestion(Answer, frozen=True):
    question: str
    answer: str


class WelcomeText(Answer, frozen=True):
    title: str
    content: str
    suggested_questions: list[WelcomeQuestion]


class WelcomeInfo(Answer, frozen=True):
    auto_message_id: IdText
    auto_message_type: Literal["WELCOME_MESSAGE"]
    audit_status: Literal["PASS"]
    welcome_message: WelcomeText
    create_time: TimeText


class WelcomeList(Listed[WelcomeInfo], frozen=True):
    """Welcome messages, newest first."""


@welcome_router.transact("/create/", Permission.WRITE_ADS)
def create_auto_message(tx: Tx, caller: Caller, body: CreateAutoMessage) -> Nothing:
    """Make a welcome message. The answer is empty: its id is read with ``/creative/auto_message/get/``."""
    welcome = body.welcome_message
    pairs = tuple((pair.question, pair.answer) for pair in welcome.suggested_questions)
    account = load_advertiser(tx, caller, body.advertiser_id)
    create_welcome_message(tx, account, welcome.title, welcome.content, pairs)
    return Nothing()


@welcome_router.transact("/get/", Permission.READ_ADS)
def get_auto_messages(tx: Tx, caller: Caller, query: AutoMessageQuery) -> WelcomeList:
    """List welcome messages, newest first. Each passes its audit at once, because no moderator reads it."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    welcome_messages = store.list_welcome_messages(tx, caller.business_id, account.id, query.auto_message_ids)
    first = (query.page - 1) * query.page_size
    rows = []
    for message in welcome_messages[first : first + query.page_size]:
        pairs = zip(message.questions, message.answers, strict=True)
        questions = [WelcomeQuestion(question, answer) for question, answer in pairs]
        info = WelcomeInfo(
            auto_message_id=str(message.number),
            auto_message_type=KIND,
            audit_status="PASS",
            welcome_message=WelcomeText(message.title, message.content, questions),
            create_time=api_time(message.created_at),
        )
        rows.append(info)
    return WelcomeList(rows, page_info(query, len(welcome_messages)))


audience_router: Final = api_routes("Audiences", "/dmp/custom_audience")


class DeleteAudiences(ApiModel):
    advertiser_id: ApiId
    custom_audience_ids: Annotated[list[ApiId], Field(min_length=1, max_length=100)]


class DeletedAudiences(Answer, frozen=True):
    custom_audience_ids: list[IdText]


@audience_router.post("/delete/", Permission.WRITE_ADS)
async def delete_custom_audiences(
    request: Request, caller: ApiCaller, body: DeleteAudiences
) -> Answered[DeletedAudiences]:
    """Delete audiences with their members; delete none if one of them is still in use."""
    db, numbers = context_of(request).db, body.custom_audience_ids
    deleted = await db.write(
        lambda tx: delete_unused_audiences(tx, load_advertiser(tx, caller, body.advertiser_id), numbers)
    )
    await finish_changes(db, caller.business_id, deleted)
    ids = [str(number) for number in body.custom_audience_ids]
    return api_answer(DeletedAudiences(ids), request_id_of(request))
