"""Smart+ campaigns, ad groups and ads in the API v1.3."""

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec.structs import asdict
from pydantic import Field
from starlette.requests import Request

from contatto.accounts.auth import api_routes, load_advertiser
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ads import store
from contatto.ads.actions.campaigns import AdChanges, NewAd, create_ad, create_ad_group, find_own, update_ad
from contatto.ads.api import campaigns as api
from contatto.ads.model import Ad, AdGroup, Campaign, NodeFilter, NodeKind
from contatto.ads.rules.settings import MOST_AD_GROUPS, OPERATIONS, Operation, check_auto_message
from contatto.kit import errors
from contatto.kit.api_types import Answer, ApiId, ApiModel, ChosenList, IdText, TextId, chosen
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.ui.requests import context_of

router: Final = api_routes("Smart+", "/smart_plus")


type RequestId = Annotated[TextId, Field(max_length=64)]
type AtMostOne[T] = Annotated[list[T], Field(max_length=1)]
type Some[T] = Annotated[list[T], Field(max_length=50)]


class TargetingSpec(api.TargetingShape):
    location_ids: api.LocationIds = Field(default_factory=list)


class SmartCampaign(api.CreateCampaign):
    """``request_id`` is an idempotency key: a repeated request gets the first response."""

    request_id: RequestId | None = None


class SmartAdGroup(api.CreateAdGroup):
    """``request_id`` is an idempotency key: a repeated request gets the first response."""

    location_ids: api.LocationIds = Field(default_factory=list)
    targeting_spec: TargetingSpec = TargetingSpec()
    request_id: RequestId | None = None


class UpdateSmartAdGroup(api.UpdateAdGroup):
    targeting_spec: TargetingSpec | None = None


def _plain[T: (SmartAdGroup, UpdateSmartAdGroup)](body: T, spec: TargetingSpec | None) -> T:
    """Return the body as of ``/adgroup``, with the fields of ``targeting_spec`` in it."""
    spec = spec or TargetingSpec()
    places = spec.location_ids or body.location_ids
    return body.model_copy(update={**spec.targeting(), "location_ids": places})


class VideoInfo(ApiModel):
    video_id: Annotated[str, Field(max_length=128)] | None = None


class CreativeInfo(ApiModel):
    ad_format: Annotated[str, Field(max_length=64)] | None = None
    identity_type: str | None = None
    identity_id: TextId | None = None
    video_info: VideoInfo = VideoInfo()


class SmartCreative(ApiModel):
    creative_info: CreativeInfo = CreativeInfo()


class AdText(ApiModel):
    ad_text: Annotated[str, Field(max_length=1_000)] = ""


class AutoMessage(ApiModel):
    auto_message_id: TextId


class InstantForm(ApiModel):
    page_id: TextId


class AdConfiguration(ApiModel):
    call_to_action_id: TextId | None = None
    identity_type: str | None = None
    identity_id: TextId | None = None


class _SmartAdParts(ApiModel):
    """The parts of a Smart+ ad; of several creatives or texts the first is shown (ours has one of each)."""

    advertiser_id: ApiId
    creative_list: Some[SmartCreative] = Field(default_factory=list)
    ad_text_list: Some[AdText] = Field(default_factory=list)
    auto_message_list: AtMostOne[AutoMessage] = Field(default_factory=list)
    page_list: AtMostOne[InstantForm] = Field(default_factory=list)
    ad_configuration: AdConfiguration = AdConfiguration()
    call_to_action_list: list[Any] | None = Field(
        None, description="Not for this objective: give call_to_action_id, or nothing."
    )

    def values(self) -> dict[str, Any]:
        """Return the values that were sent, by the fields of an ad.

        Raises INVALID, for a list of calls to action.
        """
        if self.call_to_action_list:
            raise Refused(
                errors.INVALID,
                "call_to_action_list: not for LEAD_GENERATION; use call_to_action_id in its place.",
            )
        creative = self.creative_list[0].creative_info if self.creative_list else CreativeInfo()
        sent = {
            "text": self.ad_text_list[0].ad_text if self.ad_text_list else None,
            "channel_account_id": creative.identity_id or self.ad_configuration.identity_id,
            "ad_format": creative.ad_format,
            "auto_message_id": self.auto_message_list[0].auto_message_id if self.auto_message_list else None,
            "page_id": self.page_list[0].page_id if self.page_list else None,
            "video_id": creative.video_info.video_id,
        }
        return {field: value for field, value in sent.items() if value is not None}


class SmartAd(_SmartAdParts):
    """``request_id`` is an idempotency key: a repeated request gets the first response."""

    adgroup_id: ApiId
    ad_name: str
    operation_status: api.StartStatus = "ENABLE"
    request_id: RequestId | None = None


class UpdateSmartAd(_SmartAdParts):
    """A patch: omitted fields keep their values."""

    smart_plus_ad_id: ApiId
    ad_name: str | None = None


class MoveSmartAds(api.MoveBody):
    smart_plus_ad_ids: api.FewIds


class TargetingInfo(Answer, frozen=True):
    location_ids: list[str]
    languages: list[str]
    age_groups: list[str]
    interest_category_ids: list[str]
    audience_ids: list[str]
    excluded_audience_ids: list[str]


class SmartAdGroupInfo(api.AdGroupInfo, frozen=True, kw_only=True):
    """Ad group with its targeting in ``targeting_spec`` as well."""

    targeting_spec: TargetingInfo


class SmartAdGroupList(ChosenList[SmartAdGroupInfo], frozen=True):
    """Ad groups, newest first."""


@router.transact("/campaign/create/", Permission.WRITE_ADS)
def create_smart_campaign(tx: Tx, caller: Caller, body: SmartCampaign, request: Request) -> api.CampaignInfo:
    """Make a campaign, once for each ``request_id``."""
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")
    load_advertiser(tx, caller, body.advertiser_id)  # also where the answer is repeated
    return answer_once(
        tx, key, body.model_dump_json(), api.CampaignInfo, lambda: api.create_one_campaign(tx, caller, body)
    )


@router.transact("/adgroup/create/", Permission.WRITE_ADS)
def create_smart_ad_group(tx: Tx, caller: Caller, body: SmartAdGroup, request: Request) -> SmartAdGroupInfo:
    """Make an ad group, once for each ``request_id``; a campaign has at most 30.

    Target countries and all other targeting stand in ``targeting_spec``. The conditions of the goal are the
    same as in ``/adgroup/create/``.
    """
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")
    account = load_advertiser(tx, caller, body.advertiser_id)
    campaign = find_own(tx, Campaign, account, body.campaign_id)

    def make() -> SmartAdGroupInfo:
        tx.hold_key("ad groups", campaign.id)
        under = NodeFilter(campaign_numbers=frozenset({campaign.number}))
        count = store.count_nodes(tx, AdGroup, campaign.business_id, campaign.ad_account_id, under)
        if count >= MOST_AD_GROUPS:
            problem = N_("campaign_id: a campaign can have at most %(most)s ad groups.")
            raise Refused(errors.AD_LIMIT, problem, most=MOST_AD_GROUPS)
        ad_group = create_ad_group(
            tx, caller.business_id, api.new_ad_group(_plain(body, body.targeting_spec), campaign.id)
        )
        return _show_smart_ad_group(api.show_ad_group(ad_group, campaign, account))

    return answer_once(tx, key, body.model_dump_json(), SmartAdGroupInfo, make)


@router.transact("/adgroup/update/", Permission.WRITE_ADS)
def update_smart_ad_group(tx: Tx, caller: Caller, body: UpdateSmartAdGroup) -> SmartAdGroupInfo:
    """Change an ad group; omitted fields keep their values."""
    return _show_smart_ad_group(api.update_one_ad_group(tx, caller, _plain(body, body.targeting_spec)))


@router.transact("/adgroup/get/", Permission.READ_ADS)
def get_smart_ad_groups(tx: Tx, caller: Caller, query: api.ListQuery) -> SmartAdGroupList:
    """List ad groups, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    ad_groups, page = api.list_page(tx, AdGroup, account, query)
    shown = [_show_smart_ad_group(row) for row in api.show_ad_groups(tx, account, ad_groups)]
    return SmartAdGroupList(chosen(shown, query.fields), page)


def _show_smart_ad_group(ad_group: api.AdGroupInfo) -> SmartAdGroupInfo:
    spec = TargetingInfo(*(getattr(ad_group, name) for name in TargetingInfo.__struct_fields__))
    return SmartAdGroupInfo(**asdict(ad_group), targeting_spec=spec)


router.transact("/campaign/update/", Permission.WRITE_ADS)(api.update_one_campaign)
router.transact("/campaign/status/update/", Permission.WRITE_ADS)(api.update_campaign_status)
router.transact("/campaign/get/", Permission.READ_ADS)(api.get_campaigns)
router.transact("/adgroup/status/update/", Permission.WRITE_ADS)(api.update_ad_group_status)


class VideoId(Answer, frozen=True):
    video_id: str | None


class CreativeParts(Answer, frozen=True):
    ad_format: str
    identity_type: Literal["TT_USER"]
    identity_id: str
    video_info: VideoId


class CreativeEntry(Answer, frozen=True):
    creative_info: CreativeParts


class AdTextEntry(Answer, frozen=True):
    ad_text: str


class AutoMessageEntry(Answer, frozen=True):
    auto_message_id: str


class PageEntry(Answer, frozen=True):
    page_id: str


class SmartAdInfo(api.AdInfo, frozen=True, kw_only=True):
    """Ad with its parts in lists as well."""

    smart_plus_ad_id: IdText
    creative_list: list[CreativeEntry]
    ad_text_list: list[AdTextEntry]
    auto_message_list: list[AutoMessageEntry]
    page_list: list[PageEntry]


class SmartAdList(ChosenList[SmartAdInfo], frozen=True):
    """Ads, newest first."""


class MovedSmartAds(Answer, frozen=True):
    status: Operation
    smart_plus_ad_ids: list[IdText]


@router.transact("/ad/create/", Permission.WRITE_ADS)
def create_smart_ad(tx: Tx, caller: Caller, body: SmartAd, request: Request) -> SmartAdInfo:
    """Make an ad, once for each ``request_id`` if there is one; the answer names its ``smart_plus_ad_id``."""
    values, needs_review = body.values(), context_of(request).settings.needs_ad_review
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")
    account = load_advertiser(tx, caller, body.advertiser_id)
    group = find_own(tx, AdGroup, account, body.adgroup_id)
    check_auto_message(values.get("auto_message_id", ""))
    new = NewAd(group.id, body.ad_name, status=OPERATIONS[body.operation_status], **values)

    make = partial(create_ad, tx, caller.business_id, new, needs_review=needs_review)
    return answer_once(
        tx, key, body.model_dump_json(), SmartAdInfo, lambda: _show_ads(tx, account, [make()])[0]
    )


@router.transact("/ad/update/", Permission.WRITE_ADS)
def update_smart_ad(tx: Tx, caller: Caller, body: UpdateSmartAd, request: Request) -> SmartAdInfo:
    """Change an ad; omitted fields keep their values."""
    values, needs_review = body.values(), context_of(request).settings.needs_ad_review
    account = load_advertiser(tx, caller, body.advertiser_id)
    changes = AdChanges(name=body.ad_name, **values)
    changed = update_ad(tx, account, body.smart_plus_ad_id, changes, needs_review=needs_review)
    return _show_ads(tx, account, [changed])[0]


@router.transact("/ad/get/", Permission.READ_ADS)
def get_smart_ads(tx: Tx, caller: Caller, query: api.ListQuery) -> SmartAdList:
    """List ads, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    ads, page = api.list_page(tx, Ad, account, query)
    return SmartAdList(chosen(_show_ads(tx, account, ads), query.fields), page)


def _show_ads(tx: Tx, account: AdAccount, ads: list[Ad]) -> list[SmartAdInfo]:
    rows = []
    for ad in api.show_ads(tx, account, ads):
        creative = CreativeParts(ad.ad_format, ad.identity_type, ad.identity_id, VideoId(ad.video_id))
        info = SmartAdInfo(
            **asdict(ad),
            smart_plus_ad_id=ad.ad_id,
            creative_list=[CreativeEntry(creative)],
            ad_text_list=[AdTextEntry(ad.ad_text)],
            auto_message_list=[AutoMessageEntry(ad.auto_message_id)] if ad.auto_message_id else [],
            page_list=[PageEntry(ad.page_id)] if ad.page_id else [],
        )
        rows.append(info)
    return rows


@router.transact("/ad/status/update/", Permission.WRITE_ADS)
def update_smart_ad_status(tx: Tx, caller: Caller, body: MoveSmartAds) -> MovedSmartAds:
    """Enable, disable or delete ads: all that are named, or none of them. Deletion is final."""
    ids = api.update_statuses(tx, caller, NodeKind.AD, body, body.smart_plus_ad_ids)
    return MovedSmartAds(body.operation_status, ids)
