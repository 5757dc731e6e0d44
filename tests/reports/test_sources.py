"""The page of all ads: ours beside those elsewhere, each lead once, currencies apart, what is unmatched."""

import csv
import io
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.ad_platforms.actions import NewOutsideAccount, connect_outside_account, save_nodes, save_spend
from contatto.ad_platforms.model import AdDay, AdPlatform, NodeLevel, OutsideNode
from contatto.ad_platforms.store import record_account
from contatto.ads.model import AdGroup
from contatto.ads.store import find_node
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_number
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.operators.actions import add_placement, charge_balances, open_operator
from contatto.operators.model import PlacedDay, Placement
from tests.ad_platforms.counterpart import spend
from tests.journeys.running import House, csrf_of, message, running_house, until

AD, TWIN = 1_801, 1_802
HEAD = [
    "Spend", "Impressions", "Clicks", "Conversations", "Leads", "Cost per lead", "Qualified leads",
    "Cost per qualified lead",
]  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with running_house(tmp_path, database_url=url) as running:
        running.sign_in()
        yield running


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def now_ms(before_s: int = 0) -> int:
    return (int(time.time()) - before_s) * 1_000


def mirror(
    house: House, external_id: str, currency: str, days: list[AdDay], platform: str = "tiktok"
) -> None:
    """An account elsewhere as a pull leaves it: one campaign, an ad group and its ads."""

    def work(tx: Tx) -> None:
        new = NewOutsideAccount(platform=AdPlatform(platform), external_id=external_id)
        found = connect_outside_account(tx, house.business_id, new, ())
        names = {"name": f"Shop {external_id}", "currency": currency, "timezone": "UTC"}
        account = record_account(tx, found, **names)
        ads = [
            OutsideNode(NodeLevel.AD, number, 12, f"Ad {number}")
            for number in sorted({day.ad_number for day in days})
        ]
        for nodes in (
            [OutsideNode(NodeLevel.CAMPAIGN, 11, 0, "Spring")],
            [OutsideNode(NodeLevel.AD_GROUP, 12, 11, "Chats", goal="LEAD_GENERATION")],
            ads,
        ):
            save_nodes(tx, account, nodes, new_number())
        save_spend(tx, account, days, new_number())

    house.context.db.write_now(work)


def chat(house: House, user: str, ad: int | str | None, advertiser: str = "", phone: str = "") -> None:
    """Somebody comes from an ad and leaves a number."""
    if ad is not None:
        shown = {"ad_id": str(ad), "ad_name": "Spring sale", "advertiser_id": advertiser}
        referral = {"referral": {"source": "ad", "ad": shown}, "from_user": {"id": user}, "from": user}
        tapped = {"conversation_id": f"conversation of {user}", "timestamp": now_ms(60)} | referral
        assert house.webhook("im_referral_msg", tapped).status_code == 200
    said = message(f"call me on {phone}" if phone else "Hello", user, now_ms(30))
    assert house.webhook("im_receive_msg", said).status_code == 200


def leads_of(house: House, count: int) -> None:
    def look() -> bool:
        found = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
        return len(found) == count

    assert until(look)


def rows(house: House, query: str = "by=ad") -> dict[str, list[str]]:
    """The CSV by the ids of its rows: source, account, currency, figures."""
    answer = house.client.get(f"/reports/sources/csv?{query}")
    assert answer.status_code == 200, answer.text
    head, *lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert head[6:] == HEAD
    return {line[2]: [line[0], line[1], *line[5:]] for line in lines}


def words(house: House, query: str = "by=ad") -> str:
    answer = house.client.get(f"/reports/sources?{query}")
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(answer.text)).split())


def test_an_ad_elsewhere_has_its_true_cost_per_lead_beside_our_own(house: House) -> None:
    ours = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    spend(house, ours["ad_id"], datetime.now(UTC), [2.5, 2.5])
    mirror(house, "7001", "SGD", [AdDay(AD, today(), 9_000_000, 4_000, 90)])
    chat(house, "u1", AD, phone="+65 9123 4561")
    chat(house, "u2", AD, phone="+65 9123 4562")
    chat(house, "u3", ours["ad_id"], phone="+65 9123 4563")
    chat(house, "u4", None, phone="+65 9123 4564")
    leads_of(house, 4)
    found = rows(house)
    assert found[str(AD)] == [
        "TikTok Ads",
        "Shop 7001",
        "SGD",
        "9.00",
        "4000",
        "90",
        "2",
        "2",
        "4.50",
        "0",
        "",
    ]
    assert found[ours["ad_id"]] == [
        "Contatto ads",
        "Main",
        "SGD",
        "5.00",
        "2",
        "1",
        "1",
        "1",
        "5.00",
        "0",
        "",
    ]
    assert "All chats from ads are matched" in words(house)


def test_a_qualified_lead_shows_what_it_cost(house: House) -> None:
    mirror(house, "7001", "SGD", [AdDay(AD, today(), 9_000_000, 4_000, 90)])
    chat(house, "u1", AD, phone="+65 9123 4561")
    chat(house, "u2", AD, phone="+65 9123 4562")
    leads_of(house, 2)
    lead = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))[0]
    form = {
        "status": LeadStatus.QUALIFIED.value,
        "seen": lead.status.value,
        "csrf_token": csrf_of(house.client.get("/leads").text),
    }
    answer = house.client.post(f"/leads/{lead.id}/status", data=form)
    assert answer.status_code < 400, answer.text
    assert rows(house)[str(AD)][-4:] == ["2", "4.50", "1", "9.00"]


def test_currencies_are_told_apart_and_never_added_up(house: House) -> None:
    mirror(house, "7001", "SGD", [AdDay(AD, today(), 9_000_000, 1, 1)])
    mirror(house, "7002", "EUR", [AdDay(TWIN, today(), 4_000_000, 1, 1)])
    shown = words(house)
    assert "Spend in EUR" in shown
    assert "Spend in SGD" in shown
    assert "Amounts in different currencies are not added up" in shown
    assert "13.00" not in shown
    assert {line[2]: line[3] for line in rows(house).values()} == {"SGD": "9.00", "EUR": "4.00"}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("by=ad&source=tiktok", {str(AD)}),
        ("by=ad&source=meta", {str(TWIN)}),
        ("by=ad&source=ours", set()),
        ("by=campaign&source=tiktok", {"11"}),
        ("by=ad_group&source=tiktok", {"12"}),
        ("by=ad_account&source=tiktok", {""}),
        ("by=nonsense&source=nonsense&since=x&until=y", {"11"}),
        ("by=ad&since=2020-01-01&until=2020-01-31", {str(AD), str(TWIN)}),
    ],
)
def test_rows_and_sources_can_be_chosen(house: House, query: str, ids: set[str]) -> None:
    mirror(house, "7001", "SGD", [AdDay(AD, today(), 9_000_000, 1, 1)])
    mirror(house, "7002", "SGD", [AdDay(TWIN, today(), 4_000_000, 1, 1)], "meta")
    assert set(rows(house, query)) == ids


def test_days_outside_the_question_do_not_count(house: House) -> None:
    mirror(
        house,
        "7001",
        "SGD",
        [AdDay(AD, "2026-01-05", 9_000_000, 5, 1), AdDay(AD, "2026-01-06", 1_000_000, 1, 1)],
    )
    assert rows(house, "by=ad&since=2026-01-05&until=2026-01-05")[str(AD)][3] == "9.00"
    assert rows(house, "by=ad&since=2026-01-05&until=2026-01-06")[str(AD)][3] == "10.00"


def test_what_cannot_be_matched_is_listed_with_its_reason(house: House) -> None:
    mirror(house, "7001", "SGD", [AdDay(AD, today(), 1_000_000, 1, 1)])
    mirror(house, "7002", "SGD", [AdDay(AD, today(), 2_000_000, 1, 1)])
    chat(house, "u1", AD, phone="+65 9123 4561")
    chat(house, "u2", 999, advertiser="7009", phone="+65 9123 4562")
    chat(house, "u3", 999, advertiser="7009")
    chat(house, "u4", AD, advertiser="7002", phone="+65 9123 4563")
    leads_of(house, 3)
    assert until(
        lambda: "999 Spring sale TikTok Ads 7009 No connected account has this ad 2 1" in words(house)
    )
    shown = words(house)
    assert "1801 Spring sale TikTok Ads Two connected accounts have an ad with this id 1 1" in shown
    assert "All chats" not in shown


def test_days_that_are_none_are_refused(house: House) -> None:
    for query in ("since=2026-02-01&until=2026-01-01", "since=2020-01-01&until=2026-01-01"):
        assert house.client.get(f"/reports/sources?{query}").status_code == 422


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_our_ads_in_placements_of_marketplaces_have_rows_of_their_own(house: House) -> None:
    made = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    assert "By placement" not in house.client.get("/reports/sources").text

    def fill(tx: Tx) -> None:
        operator = open_operator(tx, "The forum", "UTC", is_listed=False)
        wanted = Placement("", "", "Below the thread", "SGD", 1_000_000, (), (), 0, True, tx.now)
        placement = add_placement(tx, operator, wanted)
        (account,) = list_ad_accounts(tx, BusinessId(house.business_id))
        group = find_node(tx, AdGroup, house.business_id, number=int(made["adgroup_id"]))
        assert group is not None
        where = (operator.business_id, house.business_id, placement.id, str(account.id), group.id)
        days = [PlacedDay(*where, day, 40, 4, 3_000_000, 2, 1) for day in (today(), "2020-01-01")]
        charge_balances(tx, house.business_id, {}, days)

    house.context.db.write_now(fill)
    page = house.client.get("/reports/sources").text
    part = page[page.index('id="placed"') : page.index('id="unmatched"')]
    for text in ("Below the thread", "3.00", ">40<", "Cost per lead"):
        assert text in part
    assert "Qualified leads" not in part
    assert "By placement" not in house.client.get("/reports/sources?source=meta").text
