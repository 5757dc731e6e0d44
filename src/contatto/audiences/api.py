"""Audiences in the API v1.3."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import File, Form, UploadFile
from pydantic import Field
from starlette.requests import Request

from contatto.accounts.auth import ApiCaller, api_routes, load_advertiser
from contatto.accounts.model import Caller, Permission
from contatto.audiences import store
from contatto.audiences.actions import (
    NewAudience,
    blind_digests,
    create_audience,
    finish_changes,
    load_audience,
    update_audience,
    upload_file,
)
from contatto.audiences.model import Audience, AudienceKind, ChangeKind, Lookalike
from contatto.audiences.rules import read_digests
from contatto.kit import errors
from contatto.kit.api_types import (
    Answer,
    Answered,
    ApiId,
    ApiModel,
    IdText,
    JsonText,
    Listed,
    Nothing,
    PageQuery,
    Rows,
    TextId,
    TimeText,
    api_answer,
    api_time,
    capitals,
    page_info,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.requests import context_of

router: Final = api_routes("Audiences", "/dmp/custom_audience")

type CalculateType = Literal[
    "EMAIL_SHA256", "PHONE_SHA256", "FIRST_SHA256", "LAST_SHA256", "IDFA_SHA256", "GAID_SHA256"
]
type Paths = Annotated[list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=100)]
type SomeIds = Annotated[list[ApiId], Field(min_length=1, max_length=100)]


class CreateAudience(ApiModel):
    advertiser_id: ApiId
    custom_audience_name: str
    file_paths: Paths
    calculate_type: CalculateType


class UpdateAudience(ApiModel):
    """A patch: a new name, or files and the action on them."""

    advertiser_id: ApiId
    custom_audience_id: ApiId
    custom_audience_name: str | None = None
    action: Literal["APPEND", "REMOVE", "REPLACE"] | None = None
    file_paths: Paths | None = None


class LookalikeBody(ApiModel):
    source_audience_id: ApiId
    audience_size: Literal["NARROW", "BALANCED", "BROAD"] = "BALANCED"
    mobile_os: Literal["ALL", "ANDROID", "IOS"] = "ALL"
    placements: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list)
    location_ids: list[TextId] = Field(default_factory=list)
    include_source: bool = False


class CreateLookalike(ApiModel):
    advertiser_id: ApiId
    custom_audience_name: str
    lookalike_spec: LookalikeBody


class CreateRule(ApiModel):
    advertiser_id: ApiId
    custom_audience_name: str
    audience_type: Literal["LEAD_GENERATION", "BUSINESS_ACCOUNT"]
    rule_spec: dict[str, Any] = Field(default_factory=dict)


class AudienceQuery(PageQuery):
    advertiser_id: ApiId
    custom_audience_ids: JsonText[SomeIds | None] = None


class DetailsQuery(ApiModel):
    advertiser_id: ApiId
    custom_audience_ids: JsonText[SomeIds]


type AudienceType = Annotated[str, capitals(AudienceKind)]


class FilePath(Answer, frozen=True):
    file_path: str


class AudienceId(Answer, frozen=True):
    custom_audience_id: IdText


class AudienceInfo(Answer, frozen=True):
    """An audience; ``expected_lift`` (extension) is that of a lookalike with members.

    It is the members' chance of a good lead in multiples of that of all viewers who can be reached.
    ``expected_lift_low`` and ``expected_lift_high`` are its 80% interval.
    """

    audience_id: IdText
    custom_audience_id: IdText
    name: str
    audience_type: AudienceType
    audience_sub_type: Literal["NORMAL"]
    calculate_type: str | None
    cover_num: int
    expected_lift: float | None
    expected_lift_low: float | None
    expected_lift_high: float | None
    is_valid: bool
    is_expiring: bool
    shared: bool
    create_time: TimeText
    modify_time: TimeText


class AudienceList(Listed[AudienceInfo], frozen=True):
    """Audiences, newest first."""


class AudienceDetail(Answer, frozen=True):
    """An audience; its history is always empty."""

    audience_details: AudienceInfo
    audience_history: list[Nothing]


class AudienceDetails(Rows[AudienceDetail], frozen=True):
    """The audiences that were named."""


@router.post("/file/upload/", Permission.WRITE_ADS)
async def upload_audience_file(
    request: Request,
    caller: ApiCaller,
    advertiser_id: Annotated[ApiId, Form()],
    calculate_type: Annotated[CalculateType, Form()],
    file: Annotated[UploadFile, File(description="One SHA-256 a line, in hexadecimal; a head is allowed.")],
) -> Answered[FilePath]:
    """Upload hashed values; the ``file_path`` of the answer is good for a day.

    Values that are not hashed are refused, so no contact value is stored.
    """
    db = context_of(request).db
    content = await file.read()
    prints = await db.run_aside(lambda: blind_digests(db.vault, caller.business_id, read_digests(content)))
    uploaded = await db.write(
        lambda tx: upload_file(tx, load_advertiser(tx, caller, advertiser_id), calculate_type, prints)
    )
    return api_answer(FilePath(uploaded.path), request_id_of(request))


@router.post("/create/", Permission.WRITE_ADS)
async def create_custom_audience(
    request: Request, caller: ApiCaller, body: CreateAudience
) -> Answered[AudienceId]:
    """Make an audience of uploaded files."""
    new = NewAudience(body.custom_audience_name, calculate_type=body.calculate_type)
    db = context_of(request).db
    audience = await db.write(
        lambda tx: create_audience(tx, load_advertiser(tx, caller, body.advertiser_id), new, body.file_paths)
    )
    await finish_changes(db, caller.business_id, [audience.id])
    return api_answer(AudienceId(str(audience.number)), request_id_of(request))


@router.transact("/lookalike/create/", Permission.WRITE_ADS)
def create_lookalike(tx: Tx, caller: Caller, body: CreateLookalike) -> AudienceId:
    """Make an audience of viewers who most likely become good leads.

    It omits the members of its source, unless ``include_source`` is set. Delivery finds members
    within minutes, and anew each night.
    """
    account = load_advertiser(tx, caller, body.advertiser_id)
    spec = body.lookalike_spec
    load_audience(tx, account, spec.source_audience_id, "lookalike_spec.source_audience_id")
    new = NewAudience(body.custom_audience_name, AudienceKind.LOOKALIKE, spec=spec.model_dump_json())
    return AudienceId(str(create_audience(tx, account, new).number))


@router.transact("/rule/create/", Permission.WRITE_ADS)
def create_rule_audience(tx: Tx, caller: Caller, body: CreateRule) -> AudienceId:
    """Make an audience of people who did something, such as becoming a lead; it follows its rule."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    spec = body.model_dump_json(include={"audience_type", "rule_spec"})
    new = NewAudience(body.custom_audience_name, AudienceKind.RULE, spec=spec)
    return AudienceId(str(create_audience(tx, account, new).number))


@router.post("/update/", Permission.WRITE_ADS)
async def update_custom_audience(
    request: Request, caller: ApiCaller, body: UpdateAudience
) -> Answered[AudienceId]:
    """Change the name of an audience, or its members by files."""
    if (body.action is None) != (body.file_paths is None):
        missing = "action" if body.action is None else "file_paths"
        raise Refused(errors.INVALID, f"{missing}: action and file_paths go together.")
    files = (ChangeKind(body.action), body.file_paths) if body.action and body.file_paths else None
    number, name = body.custom_audience_id, body.custom_audience_name
    db = context_of(request).db
    changed = await db.write(
        lambda tx: update_audience(tx, load_advertiser(tx, caller, body.advertiser_id), number, name, files)
    )
    await finish_changes(db, caller.business_id, [changed.id])
    return api_answer(AudienceId(str(changed.number)), request_id_of(request))


@router.transact("/list/", Permission.READ_ADS)
def list_custom_audiences(tx: Tx, caller: Caller, query: AudienceQuery) -> AudienceList:
    """List audiences, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    matches = store.list_audiences(tx, caller.business_id, account.id, query.custom_audience_ids)
    first = (query.page - 1) * query.page_size
    shown = matches[first : first + query.page_size]
    return AudienceList(_shown(tx, caller.business_id, shown), page_info(query, len(matches)))


@router.transact("/get/", Permission.READ_ADS)
def get_custom_audiences(tx: Tx, caller: Caller, query: DetailsQuery) -> AudienceDetails:
    """Return audiences by their ids, with details."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    matches = [load_audience(tx, account, number) for number in query.custom_audience_ids]
    return AudienceDetails([AudienceDetail(row, []) for row in _shown(tx, caller.business_id, matches)])


_NOT_SEARCHED: Final = Lookalike("", "", datetime.min.replace(tzinfo=UTC), 0, None)


def _shown(tx: Tx, business_id: str, audiences: list[Audience]) -> list[AudienceInfo]:
    sizes = store.count_members(tx, business_id, {audience.id for audience in audiences})
    searched = store.list_lookalikes(tx, business_id, {audience.id for audience in audiences})
    results = [searched.get(audience.id, _NOT_SEARCHED) for audience in audiences]
    return [
        AudienceInfo(
            audience_id=str(audience.number),
            custom_audience_id=str(audience.number),
            name=audience.name,
            audience_type=audience.kind.upper(),
            audience_sub_type="NORMAL",
            calculate_type=audience.calculate_type or None,
            cover_num=sizes.get(audience.id, 0),
            expected_lift=lookalike.lift,
            expected_lift_low=lookalike.low,
            expected_lift_high=lookalike.high,
            is_valid=True,
            is_expiring=False,
            shared=False,
            create_time=api_time(audience.created_at),
            modify_time=api_time(audience.updated_at),
        )
        for audience, lookalike in zip(audiences, results, strict=True)
    ]
