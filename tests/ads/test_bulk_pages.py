"""Work on many rows of the Ads Manager: each row for itself, with its own result and its own audit entry."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from contatto.ads import store
from contatto.ads.model import Ad, AdGroup, Campaign, NodeKind, NodeStatus
from contatto.audit import list_audit_entries
from contatto.kit.db.tx import Tx
from tests.ads.world import Chain, add_chain, add_world
from tests.journeys.running import House, csrf_of, running_house
from tests.unchanged import nothing_changes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def bulk(house: House, act: str, rows: list[str], **form: str) -> dict[str, str]:
    """What the page says of each row."""
    token = csrf_of(house.client.get("/ads").text)
    data: dict[str, Any] = {"csrf_token": token, "rows": rows, **form}
    answer = house.client.post(f"/ads/bulk/{act}", data=data)
    assert answer.status_code == 200, answer.text
    found = re.findall(r'<tr id="([^"]+)">.*?<td>[^<]*</td>\s*<td>(.*?)</td></tr>', answer.text, re.DOTALL)
    return {key: " ".join(unescape(re.sub(r"<[^>]+>", " ", says)).split()) for key, says in found}


def statuses(house: House, ad: dict[str, str]) -> list[NodeStatus]:
    def look(tx: Tx) -> list[NodeStatus]:
        mine = house.business_id
        found = (
            store.find_node(tx, Campaign, mine, number=int(ad["campaign_id"])),
            store.find_node(tx, AdGroup, mine, number=int(ad["adgroup_id"])),
            store.find_node(tx, Ad, mine, number=int(ad["ad_id"])),
        )
        return [each.status for each in found if each]

    return house.context.db.read_now(look)


def keys(ad: dict[str, str]) -> tuple[str, str, str]:
    return f"campaigns-{ad['campaign_id']}", f"ad-groups-{ad['adgroup_id']}", f"ads-{ad['ad_id']}"


def objects(house: House) -> list[tuple[str, str]]:
    """The audit log of bulk work, latest first."""
    entries = house.context.db.read_now(lambda tx: list_audit_entries(tx, house.business_id, (0, 50)))
    return [(entry.act, entry.object) for entry in entries if "/bulk/" in entry.act]


def test_rows_of_every_level_are_paused_turned_on_and_deleted(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    campaign, group, single = keys(ad)
    assert bulk(house, "pause", [campaign, single]) == {single: "Paused", campaign: "Paused"}
    assert statuses(house, ad) == [NodeStatus.PAUSED, NodeStatus.ACTIVE, NodeStatus.PAUSED]
    assert bulk(house, "start", [campaign, single]) == {single: "Turned on", campaign: "Turned on"}
    assert statuses(house, ad) == [NodeStatus.ACTIVE] * 3
    deleted = bulk(house, "delete", [campaign, group, single])
    assert deleted == dict.fromkeys((single, group, campaign), "Deleted")
    assert statuses(house, ad) == [NodeStatus.DELETED] * 3


def test_each_row_that_is_done_has_one_entry_in_the_audit_log(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    campaign, group, single = keys(ad)
    bulk(house, "budget", [campaign, group, single], budget="80")
    assert objects(house) == [("POST /ads/bulk/budget", f"adgroup_id={ad['adgroup_id']}")]
    bulk(house, "pause", [group, single])
    assert objects(house)[:2] == [
        ("POST /ads/bulk/pause", f"adgroup_id={ad['adgroup_id']}"),
        ("POST /ads/bulk/pause", f"ad_id={ad['ad_id']}"),
    ]


def test_a_refused_row_says_why_changes_nothing_and_stops_no_other(house: House) -> None:
    campaign, group, single = keys(house.make_ad("LEAD_GENERATION"))
    found = bulk(house, "budget", [campaign, group, single, "ads-7"], budget="80")
    assert found == {
        single: "Rejected An ad has no budget of its own. It uses the budget of its ad group.",
        "ads-7": "Rejected An ad has no budget of its own. It uses the budget of its ad group.",
        group: "Budget changed",
        campaign: "Rejected This item was created without a budget.",
    }
    assert house.data("GET", "/adgroup/get/")["list"][0]["budget"] == 80.0
    assert bulk(house, "bid", [group, campaign], bid="10") == {
        group: "Bid changed",
        campaign: "Rejected Only an ad group has a bid.",
    }
    with nothing_changes(house.context.db):
        for act, amount in (("budget", "0.10"), ("budget", "lots"), ("budget", ""), ("bid", "81")):
            [says] = bulk(house, act, [group], **{act: amount}).values()
            assert says.startswith("Rejected ")


def test_rows_of_another_business_are_not_there(house: House) -> None:
    def build(tx: Tx) -> Chain:
        return add_chain(tx, add_world(tx))

    other = house.context.db.write_now(build)
    rows = [f"{NodeKind.CAMPAIGN}-{other.campaign.number}", f"{NodeKind.AD}-{other.ad.number}"]
    with nothing_changes(house.context.db):
        found = bulk(house, "delete", rows)
    assert found == dict.fromkeys(reversed(rows), "Rejected Not found.")


def test_no_row_or_no_token_changes_nothing(house: House) -> None:
    campaign, *_ = keys(house.make_ad("LEAD_GENERATION"))
    token = csrf_of(house.client.get("/ads").text)
    with nothing_changes(house.context.db):
        assert house.client.post("/ads/bulk/pause", data={"csrf_token": token}).status_code == 422
        assert house.client.post("/ads/bulk/pause", data={"rows": [campaign]}).status_code == 403


def test_the_way_back_asks_the_same_question(house: House) -> None:
    campaign, *_ = keys(house.make_ad("LEAD_GENERATION"))
    page = house.client.get("/ads?sort=-spend").text
    for form in ("act", "bulk"):
        assert f'<input type="hidden" name="query" value="sort=-spend" form="{form}">' in page
    data = {"csrf_token": csrf_of(page), "rows": [campaign], "query": "sort=-spend"}
    assert 'href="/ads?sort=-spend"' in house.client.post("/ads/bulk/pause", data=data).text
