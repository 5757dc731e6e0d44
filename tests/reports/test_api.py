"""The integrated report through the running app."""

import json
from typing import Any

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.kit.db.tx import Tx
from tests.ads.world import add_chain, add_world
from tests.reports.conftest import Traffic

BASIC = {"report_type": "BASIC", "service_type": "AUCTION", "query_lifetime": "True", "page_size": "100"}
BY_GROUP = BASIC | {"data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id"]}
MESSAGES = "messaging_total_conversation_tiktok_direct_message"


def ask(traffic: Traffic, query: dict[str, Any], **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = traffic.house.data("GET", "/report/integrated/get/", **(query | more))
    return data


def by_id(data: dict[str, Any], name: str = "adgroup_id") -> dict[str, dict[str, str]]:
    return {row["dimensions"][name]: row["metrics"] for row in data["list"]}


def test_conversions_follow_the_goal_and_cost_is_spend_by_conversions(traffic: Traffic) -> None:
    metrics = [
        "spend",
        "impressions",
        "clicks",
        "ctr",
        "conversion",
        "cost_per_conversion",
        "leads",
        MESSAGES,
    ]
    data = ask(traffic, BY_GROUP, metrics=metrics)
    rows = by_id(data)
    assert rows[traffic.lead["adgroup_id"]] == {
        "spend": "0.50", "impressions": "2", "clicks": "2", "ctr": "100.00", "conversion": "2",
        "cost_per_conversion": "0.25", "leads": "2", MESSAGES: "0",
    }  # fmt: skip
    assert rows[traffic.talk["adgroup_id"]] == {
        "spend": "0.25", "impressions": "1", "clicks": "1", "ctr": "100.00", "conversion": "1",
        "cost_per_conversion": "0.25", "leads": "0", MESSAGES: "1",
    }  # fmt: skip


def test_a_total_over_both_goals_says_so_and_adds_only_what_is_alike(traffic: Traffic) -> None:
    total = ask(traffic, BY_GROUP, metrics=["spend", "conversion", "leads", MESSAGES])["total_metrics"]
    assert total == {"spend": "0.75", "conversion": "-", "leads": "2", MESSAGES: "1", "mixed_goals": True}


def test_a_total_over_one_goal_has_its_conversions(traffic: Traffic) -> None:
    only = [
        {
            "field_name": "adgroup_ids",
            "filter_type": "IN",
            "filter_value": json.dumps([traffic.lead["adgroup_id"]]),
        }
    ]
    data = ask(traffic, BY_GROUP, metrics=["spend", "conversion"], filtering=only)
    assert list(by_id(data)) == [traffic.lead["adgroup_id"]]
    assert data["total_metrics"] == {"spend": "0.50", "conversion": "2", "mixed_goals": False}


def test_days_are_rows_of_their_own(traffic: Traffic) -> None:
    days = {"query_lifetime": "False", "start_date": "2026-11-20", "end_date": "2026-11-21"}
    query: dict[str, Any] = BASIC | days
    query |= {"data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id", "stat_time_day"]}
    data = ask(traffic, query, metrics=["conversion"])
    found = [(row["dimensions"]["adgroup_id"], row["dimensions"]["stat_time_day"]) for row in data["list"]]
    lead, talk = traffic.lead["adgroup_id"], traffic.talk["adgroup_id"]
    assert sorted(found) == sorted(
        [(lead, "2026-11-20 00:00:00"), (lead, "2026-11-21 00:00:00"), (talk, "2026-11-20 00:00:00")]
    )


def test_dates_cut_the_span_and_rows_of_zeros_stay(traffic: Traffic) -> None:
    query = BY_GROUP | {"query_lifetime": "False", "start_date": "2026-11-21", "end_date": "2026-11-21"}
    rows = by_id(ask(traffic, query, metrics=["spend", "conversion", "cost_per_conversion"]))
    assert rows[traffic.lead["adgroup_id"]] == {
        "spend": "0.25",
        "conversion": "1",
        "cost_per_conversion": "0.25",
    }
    assert rows[traffic.talk["adgroup_id"]] == {
        "spend": "0.00",
        "conversion": "0",
        "cost_per_conversion": "0.00",
    }


@pytest.mark.parametrize(
    ("level", "dimension"),
    [("AUCTION_ADVERTISER", "advertiser_id"), ("AUCTION_CAMPAIGN", "campaign_id"), ("AUCTION_AD", "ad_id")],
)
def test_every_level_adds_up_to_the_same_spend(traffic: Traffic, level: str, dimension: str) -> None:
    data = ask(traffic, BASIC, data_level=level, dimensions=[dimension], metrics=["spend"])
    rows = by_id(data, dimension)
    assert sum(float(row["spend"]) for row in rows.values()) == 0.75
    known = {"advertiser_id": {traffic.house.advertiser_id}} | {
        name: {traffic.lead[name], traffic.talk[name]} for name in ("campaign_id", "ad_id")
    }
    assert set(rows) == known[dimension]


def test_pages_cut_the_rows_and_not_the_total(traffic: Traffic) -> None:
    query = BY_GROUP | {"page_size": "1", "order_field": "spend", "order_type": "ASC"}
    first, second = (ask(traffic, query, page=str(page), metrics=["spend"]) for page in (1, 2))
    assert [list(by_id(data)) for data in (first, second)] == [
        [traffic.talk["adgroup_id"]],
        [traffic.lead["adgroup_id"]],
    ]
    assert first["total_metrics"]["spend"] == second["total_metrics"]["spend"] == "0.75"
    assert first["page_info"] == {"page": 1, "page_size": 1, "total_number": 2, "total_page": 2}


def test_names_and_settings_come_as_metrics_too(traffic: Traffic) -> None:
    metrics = ["adgroup_name", "campaign_id", "currency", "objective_type", "ad_name"]
    row = by_id(ask(traffic, BY_GROUP, metrics=metrics))[traffic.lead["adgroup_id"]]
    assert row["adgroup_name"] == "LEAD_GENERATION group"
    assert row["campaign_id"] == traffic.lead["campaign_id"]
    assert (row["currency"], row["objective_type"], row["ad_name"]) == ("SGD", "LEAD_GENERATION", "-")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"report_type": "CATALOG"}, "report_type"),
        ({"data_level": "AUCTION_AD"}, "data_level"),
        ({"data_level": "RESERVATION_AD"}, "data_level"),
        ({"dimensions": ["gender"]}, "dimensions"),
        ({"dimensions": "adgroup_id"}, "dimensions"),
        ({"metrics": ["luck"]}, "metrics"),
        ({"query_lifetime": "False"}, "start_date"),
        ({"query_lifetime": "False", "start_date": "2026-11-20"}, "end_date"),
        ({"query_lifetime": "False", "start_date": "2026-11-20", "end_date": "2026-11-19"}, "end_date"),
        ({"query_lifetime": "False", "start_date": "2025-01-01", "end_date": "2026-11-19"}, "end_date"),
        ({"query_lifetime": "False", "start_date": "yesterday", "end_date": "2026-11-19"}, "start_date"),
        ({"dimensions": ["adgroup_id", "stat_time_day"]}, "query_lifetime"),
        ({"order_field": "luck"}, "order_field"),
        ({"filtering": [{"field_name": "luck", "filter_type": "IN", "filter_value": "[1]"}]}, "filtering"),
        (
            {"filtering": [{"field_name": "ad_ids", "filter_type": "MATCH", "filter_value": '["1"]'}]},
            "filtering",
        ),
        ({"filtering": "["}, "filtering"),
    ],
)
def test_a_wrong_question_names_its_field(traffic: Traffic, change: dict[str, Any], part: str) -> None:
    answer = traffic.house.api("GET", "/report/integrated/get/", **(BY_GROUP | change))
    assert answer["code"] == 40002
    assert part in answer["message"]


@pytest.mark.parametrize("value", ["LEAD", '"LEAD"', '["LEAD"]'])
def test_a_part_of_a_name_may_be_plain_text_or_json(traffic: Traffic, value: str) -> None:
    wanted = [{"field_name": "adgroup_name", "filter_type": "MATCH", "filter_value": value}]
    data = traffic.house.data("GET", "/report/integrated/get/", **(BY_GROUP | {"filtering": wanted}))
    assert [row["dimensions"]["adgroup_id"] for row in data["list"]] == [traffic.lead["adgroup_id"]]


def test_ids_of_another_business_select_nothing_and_its_account_is_unknown(traffic: Traffic) -> None:
    def work(tx: Tx) -> tuple[str, str]:
        world = add_world(tx)
        return str(world.ad_account.number), str(add_chain(tx, world).ad_group.number)

    account, group = traffic.house.context.db.write_now(work)
    asked = [{"field_name": "adgroup_ids", "filter_type": "IN", "filter_value": json.dumps([group])}]
    assert ask(traffic, BY_GROUP, filtering=asked)["list"] == []
    answer = traffic.house.api("GET", "/report/integrated/get/", **(BY_GROUP | {"advertiser_id": account}))
    assert answer["code"] == 40300


def test_a_token_without_the_scope_reads_nothing(traffic: Traffic) -> None:
    house = traffic.house

    def work(tx: Tx) -> str:
        scopes = [Permission.READ_ADS.value]
        return accounts.issue_token(tx, house.business_id, "narrow", scopes)[1]  # type: ignore[arg-type]  # a plain text

    wide, house.token = house.token, house.context.db.write_now(work)
    try:
        assert house.api("GET", "/report/integrated/get/", **BY_GROUP)["code"] == 40130
    finally:
        house.token = wide


def test_the_page_and_its_csv_show_the_same_figures(traffic: Traffic) -> None:
    house = traffic.house
    house.sign_in()
    days = "since=2026-11-20&until=2026-11-21"
    page = house.client.get(f"/reports?{days}&by=ad_group").text
    for part in ("LEAD_GENERATION group", "SGD 0.75", "Conversions of different goals", 'value="2026-11-20"'):
        assert part in page
    answer = house.client.get(f"/reports/csv?{days}&by=ad_group")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "report-ad_group-2026-11-20-2026-11-21.csv" in answer.headers["content-disposition"]
    lines = answer.content.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("ID,Ad group,Part of,Goal,Currency,Spend,Impressions")
    lead = next(line for line in lines if line.startswith(traffic.lead["adgroup_id"]))
    assert lead.endswith(",Lead,SGD,0.50,2,2,100.00,0,2,2,0.25")


@pytest.mark.parametrize("level", ["campaign", "ad"])
def test_the_page_has_every_level(traffic: Traffic, level: str) -> None:
    traffic.house.sign_in()
    page = traffic.house.client.get(f"/reports?since=2026-11-20&until=2026-11-21&level={level}").text
    assert "SGD 0.75" in page
    assert page.count('class="report__name"') >= 2


def test_days_without_traffic_say_so(traffic: Traffic) -> None:
    traffic.house.sign_in()
    page = traffic.house.client.get("/reports?since=2020-01-01&until=2020-01-02").text
    assert "No traffic in this period" in page


@pytest.mark.parametrize("query", ["since=soon", "since=2026-01-02&until=2026-01-01"])
def test_a_page_with_a_wrong_question_is_refused(traffic: Traffic, query: str) -> None:
    traffic.house.sign_in()
    assert traffic.house.client.get(f"/reports?{query}").status_code == 422


def test_countries_and_instant_forms_are_dimensions(traffic: Traffic) -> None:
    asked = {"dimensions": ["country_code"], "metrics": ["leads"]}
    by_country = ask(traffic, BASIC | {"data_level": "AUCTION_ADVERTISER"} | asked)
    assert by_id(by_country, "country_code") == {"-1": {"leads": "2"}}
    asked["metrics"] = ["reach", "frequency"]
    by_country = ask(traffic, BASIC | {"data_level": "AUCTION_ADVERTISER"} | asked)
    assert by_id(by_country, "country_code") == {"-1": {"reach": "3", "frequency": "1.00"}}
    assert by_country["total_metrics"] == {"reach": "3", "frequency": "1.00", "mixed_goals": True}
    by_page = ask(traffic, BASIC, dimensions=["page_id"], metrics=["conversion", "leads"])
    assert by_id(by_page, "page_id") == {"-1": {"conversion": "-", "leads": "2"}}
    assert by_page["total_metrics"]["mixed_goals"] is True


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"dimensions": ["page_id", "ad_id"], "metrics": ["leads"]}, "page_id"),
        ({"dimensions": ["placement"], "metrics": ["reach"]}, "reach"),
        ({"dimensions": ["placement", "ad_id"], "metrics": ["leads"]}, "placement"),
        ({"dimensions": ["placement", "country_code"], "metrics": ["leads"]}, "placement"),
        ({"dimensions": ["placement"], "metrics": ["qualified_leads"]}, "qualified_leads"),
    ],
)
def test_dimensions_that_do_not_go_together_are_refused(
    traffic: Traffic, query: dict[str, Any], says: str
) -> None:
    answer = traffic.house.api("GET", "/report/integrated/get/", **(BASIC | query))
    assert answer["code"] == 40002
    assert says in answer["message"]
