"""The official SDK as the conformance tests use it: its clients and models, and the values that we give."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.rest import ApiException
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from tests.forms.papers import published
from tests.journeys.running import API, House

DIRECT_MESSAGE = "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE"
SINGAPORE = "1880251"


@dataclass(slots=True)
class Sdk:
    """The SDK's clients, each on the same host and with the token of one house."""

    house: House
    client: Any
    form: int = 0

    @classmethod
    @contextmanager
    def opened(cls, house: House) -> Iterator["Sdk"]:
        cfg = vendor.Configuration()
        cfg.host = str(house.client.base_url).rstrip("/")
        client = vendor.ApiClient(cfg)
        yield cls(house, client)
        client.rest_client.pool_manager.clear()

    @property
    def advertiser_id(self) -> str:
        return self.house.advertiser_id

    def campaigns(self) -> Any:
        return vendor.CampaignCreationApi(self.client)

    def ad_groups(self) -> Any:
        return vendor.AdgroupApi(self.client)

    def ads(self) -> Any:
        return vendor.AdApi(self.client)

    def reports(self) -> Any:
        return vendor.ReportingApi(self.client)

    def accounts(self) -> Any:
        return vendor.AccountManagementApi(self.client)

    def call(self, method: Any, *needed: Any, token: str | None = None, **values: Any) -> Any:
        """Call a method of the SDK with the token where it wants it; give what it answers as ``data``."""
        answer = method(*needed, token or self.house.token, **values)
        assert answer["request_id"]
        return answer["data"]

    @property
    def host(self) -> str:
        return str(self.house.client.base_url).rstrip("/")

    def get(self, path: str, token: str | None = None, **query: Any) -> Any:
        """A GET for which the SDK has no method; the ad account is named unless the query does."""
        asked = {"advertiser_id": self.advertiser_id} | query
        return self._call(path, "GET", token, query_params=list(asked.items()))

    def post(self, path: str, token: str | None = None, **body: Any) -> Any:
        """A POST for which the SDK has no method."""
        return self._call(path, "POST", token, body={"advertiser_id": self.advertiser_id} | body)

    def _call(self, path: str, method: str, token: str | None, **values: Any) -> Any:
        headers = {
            "Access-Token": self.house.token if token is None else token,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        whole = {"response_type": "InlineResponse200", "_return_http_data_only": True} | values
        return self.client.call_api(f"{API}{path}", method, header_params=headers, **whole)["data"]

    def code_of_post(self, path: str, **body: Any) -> int:
        """0 when all is well, else the number of the SDK's own error."""
        try:
            self.post(path, **body)
        except TiktokSDKError as error:
            return code_of(error)
        return 0

    def refused(self, path: str, **body: Any) -> int:
        with pytest.raises(TiktokSDKError) as caught:
            self.post(path, **body)
        return code_of(caught.value)

    def is_there(self, path: str, **query: Any) -> bool:
        try:
            self.get(path, **query)
        except TiktokSDKError:
            return False
        return True

    def make_campaign(self, **changes: Any) -> str:
        body = vendor.CampaignCreateBody(**({
            "advertiser_id": self.advertiser_id, "campaign_name": "November",
            "objective_type": "LEAD_GENERATION", "budget_mode": "BUDGET_MODE_INFINITE",
        } | changes))  # fmt: skip
        return str(self.call(self.campaigns().campaign_create, body=body)["campaign_id"])

    def ad_group_values(self, campaign_id: str, goal: str, **changes: Any) -> dict[str, Any]:
        """The values of an ad group as a script gives them; a change to None takes one out."""
        values = {
            "advertiser_id": self.advertiser_id, "campaign_id": campaign_id, "adgroup_name": f"{goal} group",
            "optimization_goal": goal, "promotion_type": DIRECT_MESSAGE, "billing_event": "OCPM",
            "bid_type": "BID_TYPE_NO_BID", "budget": 50.0, "budget_mode": "BUDGET_MODE_DYNAMIC_DAILY_BUDGET",
            "pacing": "PACING_MODE_SMOOTH", "schedule_type": "SCHEDULE_FROM_NOW",
            "schedule_start_time": "2026-11-24 22:11:09", "location_ids": [SINGAPORE],
            "placements": ["PLACEMENT_TIKTOK"],
        } | changes  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}

    def make_ad_group(self, campaign_id: str, goal: str, **changes: Any) -> str:
        body = vendor.AdgroupCreateBody(**self.ad_group_values(campaign_id, goal, **changes))
        return str(self.call(self.ad_groups().adgroup_create, body=body)["adgroup_id"])

    def published_form(self) -> int:
        """Return the id of a published form; the first call makes it."""
        if not self.form:
            of = self.house.business_id
            self.form = self.house.context.db.write_now(lambda tx: published(tx, of)).number
        return self.form

    def creative_values(self, name: str, **changes: Any) -> dict[str, Any]:
        return {
            "ad_format": "SINGLE_VIDEO", "ad_name": name, "ad_text": "Write to us",
            "auto_message_id": self.house.first_message(), "call_to_action": "SEND_MESSAGE",
            "identity_id": self.house.tiktok_id, "identity_type": "TT_USER", "video_id": "v1",
        } | changes  # fmt: skip

    def make_ads(self, adgroup_id: str, *creatives: dict[str, Any]) -> list[str]:
        made = [vendor.AdcreateCreatives(**each) for each in creatives]
        body = vendor.AdCreateBody(advertiser_id=self.advertiser_id, adgroup_id=adgroup_id, creatives=made)
        ids = self.call(self.ads().ad_create, body=body)["ad_ids"]
        return [str(each) for each in ids]


def code_of(error: BaseException) -> int:
    """The number in the SDK's own error; the SDK raises it for refusals and for nothing else."""
    text = str(error)
    assert not isinstance(error, ApiException), text
    assert text.startswith("Error Code: "), text
    return int(text.removeprefix("Error Code: ").partition(",")[0])
