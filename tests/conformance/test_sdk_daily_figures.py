"""The official SDK reads figures by ad and day, page by page, as a program does that mirrors an account."""

from tests.ad_platforms.counterpart import noon, spend
from tests.conformance.sdk import Sdk


def test_the_sdk_reads_what_each_ad_cost_each_day_page_by_page(sdk: Sdk) -> None:
    ids = [sdk.house.make_ad("LEAD_GENERATION")["ad_id"] for _ in range(2)]
    for day in (3, 4, 5):
        for each, ad_id in enumerate(ids, 1):
            spend(sdk.house, ad_id, noon(day), [each * 0.25, 0.5], clicks=1)
    found = {}
    page, pages = 1, 1
    while page <= pages:
        data = sdk.call(
            sdk.reports().report_integrated_get,
            "BASIC",
            advertiser_id=sdk.advertiser_id,
            service_type="AUCTION",
            data_level="AUCTION_AD",
            dimensions=["ad_id", "stat_time_day"],
            metrics=["spend", "impressions", "clicks"],
            start_date="2026-01-01",
            end_date="2026-01-30",
            page=page,
            page_size=2,
        )
        assert data["page_info"]["page"] == page
        pages = data["page_info"]["total_page"]
        for row in data["list"]:
            place = row["dimensions"]["ad_id"], row["dimensions"]["stat_time_day"]
            assert place not in found
            found[place] = row["metrics"]
        page += 1
    assert len(found) == 6
    assert pages == 3
    assert found[ids[0], "2026-01-04 00:00:00"] == {"spend": "0.75", "impressions": "2", "clicks": "1"}
    assert found[ids[1], "2026-01-05 00:00:00"] == {"spend": "1.00", "impressions": "2", "clicks": "1"}


def test_the_sdk_lists_ads_that_are_deleted_when_it_asks_for_all(sdk: Sdk) -> None:
    made = sdk.house.make_ad("CONVERSATION")
    sdk.house.data("POST", "/ad/status/update/", ad_ids=[made["ad_id"]], operation_status="DELETE")
    data = sdk.call(
        sdk.ads().ad_get, sdk.advertiser_id, filtering={"primary_status": "STATUS_ALL"}, page_size=100
    )
    states = {row["ad_id"]: row["secondary_status"] for row in data["list"]}
    assert states[made["ad_id"]] == "AD_STATUS_DELETE"
