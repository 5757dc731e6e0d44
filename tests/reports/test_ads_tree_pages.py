"""The Ads Manager through the running app: figures, order, filters, what is open, and the way back."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import pytest

from contatto.kit.db.tx import Tx
from contatto.measurement.model import ConversionKind
from tests.ads.world import add_chain, add_world
from tests.journeys.running import House, csrf_of, running_house
from tests.reports.conftest import Traffic, earn, see

EVERYTHING = "/ads?days=last_28"


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """An hour ago: two leads and a conversation of two ads, each after a view that cost 0.25 and a click."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        lead, talk = house.make_ad("LEAD_GENERATION"), house.make_ad("CONVERSATION")

        def work(tx: Tx) -> None:
            at = tx.now - timedelta(hours=1)
            for person in ("lead 1", "lead 2"):
                see(tx, house, lead, person, at)
                earn(tx, house, ConversionKind.LEAD, person, at + timedelta(minutes=1))
            see(tx, house, talk, "talk", at)
            earn(tx, house, ConversionKind.CONVERSATION, "talk", at + timedelta(minutes=1))
            add_chain(tx, add_world(tx))

        house.context.db.write_now(work)
        house.sign_in()
        yield Traffic(house, lead, talk)


def shown(house: House, address: str) -> list[tuple[str, dict[str, str]]]:
    """The rows of the table: their ids with their cells by the titles of the columns."""
    page = house.client.get(address)
    assert page.status_code == 200, page.text
    found = re.findall(r'<tr class="tree__row[^"]*" id="([^"]+)".*?</tr>', page.text, re.DOTALL)
    rows = re.findall(r'<tr class="tree__row.*?</tr>', page.text, re.DOTALL)
    cells = [re.findall(r'data-label="([^"]+)">(.*?)</td>', row, re.DOTALL) for row in rows]
    return [
        (key, {title: words(text) for title, text in each}) for key, each in zip(found, cells, strict=True)
    ]


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(html)).split())


def keys(house: House, address: str) -> list[str]:
    return [key for key, _ in shown(house, address)]


def test_each_level_has_its_figures_and_conversions_follow_the_goal(traffic: Traffic) -> None:
    rows = dict(shown(traffic.house, EVERYTHING))
    assert len(rows) == 6
    for kind, key in (("campaigns", "campaign_id"), ("ad-groups", "adgroup_id"), ("ads", "ad_id")):
        lead, talk = rows[f"{kind}-{traffic.lead[key]}"], rows[f"{kind}-{traffic.talk[key]}"]
        assert (lead["Spend"], lead["Impressions"], lead["Clicks"], lead["Leads"]) == (
            "SGD 0.50",
            "2",
            "2",
            "2",
        )
        assert (lead["Conversions"], lead["Cost per conversion"]) == ("2", "SGD 0.25")
        assert (talk["Conversations"], talk["Leads"], talk["Conversions"]) == ("1", "0", "1")


def test_a_total_over_both_goals_says_so(traffic: Traffic) -> None:
    page = traffic.house.client.get(EVERYTHING).text
    total = words(page[page.index("<tfoot>") : page.index("</tfoot>")])
    assert total == "Total mixed goals mixed goals SGD 0.75 2 1 3 3"
    page = traffic.house.client.get(f"{EVERYTHING}&goal=lead").text
    total = words(page[page.index("<tfoot>") : page.index("</tfoot>")])
    assert total == "Total 2 SGD 0.25 SGD 0.50 2 0 2 2"


def test_rows_are_put_in_order_and_the_address_is_shortened(traffic: Traffic) -> None:
    house, first, second = traffic.house, traffic.lead["campaign_id"], traffic.talk["campaign_id"]
    by_spend = keys(house, f"{EVERYTHING}&tree=shut&sort=spend")
    assert by_spend == [f"campaigns-{second}", f"campaigns-{first}"]
    assert keys(house, f"{EVERYTHING}&tree=shut&sort=-spend") == by_spend[::-1]
    answer = house.client.get("/ads?q=&days=last_7&sort=-leads&column=&who=me")
    assert answer.headers["hx-push-url"] == "/ads?sort=-leads"


def test_what_is_looked_for_is_shown_with_what_is_above_it(traffic: Traffic) -> None:
    house, lead = traffic.house, traffic.lead
    way = [f"campaigns-{lead['campaign_id']}", f"ad-groups-{lead['adgroup_id']}", f"ads-{lead['ad_id']}"]
    for query in ("q=ad+of+lead", f"q={lead['ad_id']}", "goal=lead"):
        assert keys(house, f"/ads?{query}") == way
    assert "No matches" in house.client.get("/ads?q=nobody").text
    assert "No matches" in house.client.get("/ads?status=problem").text


def test_a_branch_is_closed_and_opened_by_its_number(traffic: Traffic) -> None:
    house, lead = traffic.house, traffic.lead
    assert len(keys(house, f"/ads?shut={lead['campaign_id']}")) == 4
    assert len(keys(house, f"/ads?tree=shut&open={lead['campaign_id']}")) == 3
    page = house.client.get(f"/ads?shut={lead['campaign_id']}").text
    assert f'name="open" value="{lead["campaign_id"]}" aria-expanded="false"' in page
    assert 'name="shut" value="' + lead["campaign_id"] + '" form="ads-filters"' in page


def test_ads_that_nobody_asked_for_are_tucked_away_on_a_phone(traffic: Traffic) -> None:
    """The style sheet hides these rows and shows another button beside their ad group, without a script."""
    house, lead = traffic.house, traffic.lead
    usual = house.client.get("/ads").text
    assert usual.count("tree__row--tucked") == 2
    assert usual.count("tree__fold--phone") == usual.count("tree__fold--wide") == 2
    opened = house.client.get(f"/ads?open={lead['adgroup_id']}").text
    assert opened.count("tree__row--tucked") == 1
    for query in ("q=ad+of+lead", "tree=open"):
        assert "tree__row--tucked" not in house.client.get(f"/ads?{query}").text


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "9" * 40, "9" * 5_000])
def test_a_page_that_is_not_there_shows_one_that_is(traffic: Traffic, page: str) -> None:
    assert len(keys(traffic.house, f"{EVERYTHING}&page={page}")) == 6


def test_columns_are_chosen(traffic: Traffic) -> None:
    [row, *_] = shown(traffic.house, "/ads?goal=lead&column=ctr&column=bid")
    assert row[1] == {"CTR": "100.00%"}
    assert list(shown(traffic.house, "/ads?goal=lead&column=places")[1][1]) == ["Countries"]
    quality = "/ads?goal=lead&column=qualified_leads&column=cost_per_qualified_lead"
    assert shown(traffic.house, quality)[0][1] == {"Qualified leads": "0", "Cost per qualified lead": "–"}


def test_campaigns_of_another_business_are_not_there(traffic: Traffic) -> None:
    assert "November" not in traffic.house.client.get("/ads?q=november").text.replace('value="november"', "")
    assert len(keys(traffic.house, "/ads?account=1")) == 0


def test_an_act_on_a_row_leads_back_to_the_same_question(traffic: Traffic) -> None:
    house, number = traffic.house, traffic.lead["ad_id"]
    token = csrf_of(house.client.get("/ads").text)
    for status in ("paused", "active"):
        form = {"csrf_token": token, "status": status, "query": "sort=-spend&q=a%0d%0ab"}
        answer = house.client.post(f"/ads/ads/{number}/status", data=form, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/ads?sort=-spend&q=a%0D%0Ab#ads-{number}"
