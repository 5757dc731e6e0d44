"""Bodies of the Smart+ twins, which name the same things in other places."""

from typing import Annotated, Any, Literal

from pydantic import Field

from contatto.ads.api.schemas import (
    CreateAdGroup,
    CreateCampaign,
    FewIds,
    LocationIds,
    Operation,
    TargetingShape,
    UpdateAdGroup,
)
from contatto.kit.api_types import ApiId, ApiModel, TextId

type RequestId = Annotated[TextId, Field(max_length=64)]
type AtMostOne[T] = Annotated[list[T], Field(max_length=1)]
type Some[T] = Annotated[list[T], Field(max_length=50)]


class TargetingSpec(TargetingShape):
    location_ids: LocationIds = Field(default_factory=list)


class SmartCampaign(CreateCampaign):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    request_id: RequestId | None = None


class SmartAdGroup(CreateAdGroup):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    location_ids: LocationIds = Field(default_factory=list)
    targeting_spec: TargetingSpec = TargetingSpec()
    request_id: RequestId | None = None

    def plain(self) -> CreateAdGroup:
        """The same with its targeting where the manual twin has it."""
        places = self.targeting_spec.location_ids or self.location_ids
        return self.model_copy(update={**self.targeting_spec.targeting(), "location_ids": places})


class UpdateSmartAdGroup(UpdateAdGroup):
    targeting_spec: TargetingSpec | None = None

    def plain(self) -> UpdateAdGroup:
        """The same with its targeting where the manual twin has it."""
        spec = self.targeting_spec or TargetingSpec()
        return self.model_copy(
            update={**spec.targeting(), "location_ids": spec.location_ids or self.location_ids}
        )


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


class SmartAd(_SmartAdParts):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    adgroup_id: ApiId
    ad_name: str
    operation_status: Operation = "ENABLE"
    request_id: RequestId | None = None


class UpdateSmartAd(_SmartAdParts):
    """A patch: what is not given stays."""

    smart_plus_ad_id: ApiId
    ad_name: str | None = None


class MoveSmartAds(ApiModel):
    advertiser_id: ApiId
    operation_status: Literal["ENABLE", "DISABLE", "DELETE"]
    smart_plus_ad_ids: FewIds
