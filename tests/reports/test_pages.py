"""The report page through the running app: what it shows, its files, what it keeps, and what explains it."""

import csv
import io
import re
import zipfile
from html import unescape

import pytest

from tests.journeys.running import House, csrf_of, running_house
from tests.reports.conftest import Traffic
from tests.unchanged import nothing_changes

DAYS = "since=2026-11-20&until=2026-11-21"


@pytest.fixture(scope="module")
def house(traffic: Traffic) -> House:
    traffic.house.sign_in()
    return traffic.house


def page(house: House, address: str) -> str:
    answer = house.client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(html)).split())


def rows(house: House, query: str) -> list[list[str]]:
    answer = house.client.get(f"/reports/csv?{query}")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.mark.parametrize("by", ["campaign", "ad_group", "ad", "goal", "country", "day", "hour"])
@pytest.mark.parametrize("basis", ["touch", "own"])
def test_every_breakdown_has_the_same_total(house: House, by: str, basis: str) -> None:
    columns = "column=spend&column=conversations&column=leads&column=clicks"
    query = f"{DAYS}&by={by}&basis={basis}&compare=yes&{columns}"
    shown = page(house, f"/reports?{query}")
    assert "Day by day" in shown
    total = rows(house, query)[-1]
    assert [total[1], *total[5::2]] == ["Total", "0.75", "1", "2", "3"]
    parts = [[float(cell or 0) for cell in row[5::2]] for row in rows(house, query)[1:-1]]
    assert [sum(column) for column in zip(*parts, strict=True)] == [0.75, 1, 2, 3]


@pytest.mark.parametrize(
    ("by", "reached"),
    [
        ("campaign", ["1", "2"]),
        ("ad", ["1", "2"]),
        ("goal", ["1", "2"]),
        ("country", ["3"]),
        ("day", ["1", "2"]),
    ],
)
def test_reach_and_frequency_are_columns_whose_total_counts_persons_anew(
    house: House, by: str, reached: list[str]
) -> None:
    query = f"{DAYS}&by={by}&compare=yes&column=reach&column=frequency&column=cost_per_1000_reached"
    head, *lines, total = rows(house, query)
    assert head[5::2] == ["Reach", "Frequency", "Cost per 1,000 reached"]
    assert sorted(line[5] for line in lines) == reached
    assert total[5:] == ["3", "0", "1.00", "", "250.00", ""]
    assert "Impressions per person reached." in page(house, f"/reports?{query}")


def test_hours_of_the_day_stand_for_many_days_so_only_their_total_has_a_reach(house: House) -> None:
    *lines, total = rows(house, f"{DAYS}&by=hour&column=reach")[1:]
    assert {line[5] for line in lines} == {""}
    assert total[5] == "3"


def test_the_reach_of_one_campaign_leaves_out_the_persons_of_others(house: House) -> None:
    inside = re.findall(r"campaign_id=(\d+)", page(house, f"/reports?{DAYS}&by=campaign"))
    totals = [
        rows(house, f"{DAYS}&by=day&campaign_id={number}&column=reach")[-1][5] for number in set(inside)
    ]
    assert sorted(totals) == ["1", "2"]


def test_conversions_over_two_goals_are_told_and_not_added(house: House) -> None:
    head, *lines = rows(house, DAYS)
    assert head[-2:] == ["Conversions", "Cost per conversion"]
    found = {line[1]: line for line in lines}
    assert found["LEAD_GENERATION group"][3] == "Lead"
    assert found["LEAD_GENERATION group"][-2:] == ["2", "0.25"]
    assert found["CONVERSATION group"][-2:] == ["1", "0.25"]
    assert found["Total"][-2:] == ["", ""]
    shown = words(page(house, f"/reports?{DAYS}"))
    assert "Conversions of different goals are not added up" in shown
    assert "A conversion is a lead; cost per conversion is cost per lead." in shown


def test_one_conversion_is_named_in_the_singular(house: House) -> None:
    shown = words(page(house, f"/reports?{DAYS}"))
    assert " 1 chat " in shown
    assert "1 chats" not in shown
    assert " 2 leads " in shown


def test_the_spreadsheet_has_what_the_csv_has(house: House) -> None:
    answer = house.client.get(f"/reports/xlsx?{DAYS}")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        sheet = unescape(book.read("xl/worksheets/sheet1.xml").decode())
    head, *lines = rows(house, DAYS)
    for row in lines:
        assert all(f"<t>{cell}</t>" in sheet for cell in row[:5] if cell)
        assert all(f"<v>{float(cell):.16G}</v>" in sheet for cell in row[5:] if cell)
    assert all(f"<t>{cell}</t>" in sheet for cell in head)


def test_a_campaign_leads_to_its_ad_groups_alone(house: House) -> None:
    campaigns = page(house, f"/reports?{DAYS}&by=campaign")
    inside = re.findall(r'class="report__name" href="([^"]+)"', campaigns)
    assert len(inside) == 2
    lines = rows(house, unescape(inside[0]).partition("?")[2])
    assert len(lines) == 3


def test_a_report_is_kept_opened_and_removed(house: House) -> None:
    query = "period=last_30&by=country&column=spend&column=leads"
    csrf = csrf_of(page(house, "/reports"))
    sent = {"name": "  Leads   by country ", "query": query, "csrf_token": csrf}
    answer = house.client.post("/reports/saved", data=sent, follow_redirects=False)
    assert answer.status_code == 303
    shown = page(house, answer.headers["location"])
    assert 'aria-current="page"' in shown.partition('id="saved-reports"')[2].partition("</nav>")[0]
    assert "<bdi>Leads by country</bdi>" in shown
    kept = re.search(r'action="(/reports/saved/[^"]+/delete)"', shown)
    assert kept
    house.client.post(kept[1], data={"csrf_token": csrf})
    assert "Leads by country" not in page(house, "/reports")
    again = house.client.post(kept[1], data={"csrf_token": csrf})
    assert again.status_code == 404


@pytest.mark.parametrize("sent", [{"name": " ", "query": "by=ad"}, {"name": "A", "query": "since=never"}])
def test_a_report_that_cannot_be_kept_is_refused(house: House, sent: dict[str, str]) -> None:
    csrf = csrf_of(page(house, "/reports"))
    with nothing_changes(house.context.db):
        answer = house.client.post("/reports/saved", data=sent | {"csrf_token": csrf})
        assert answer.status_code == 422


def test_from_a_figure_to_the_touch_that_earned_it(house: House) -> None:
    report = page(house, f"/reports?{DAYS}")
    link = re.search(r'href="(/reports/conversions\?[^"]*metric=conversion&amp;key=[^"]+)"', report)
    assert link
    behind = page(house, unescape(link[1]))
    reasons = re.findall(r'href="(/reports/conversions/\d+)"', behind)
    assert reasons
    assert f": {len(reasons)}" in words(behind)
    why = words(page(house, reasons[0]))
    assert "Credited last click within the window" in why
    assert "Eligible, but " in why


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/reports?since=soon", 422),
        ("/reports/conversions?metric=spend", 422),
        ("/reports/conversions?metric=conversion", 422),
        ("/reports/conversions/12", 404),
        ("/reports/conversions/nonsense", 404),
        ("/reports/what-if?click=3", 422),
        ("/reports?advertiser_id=12", 404),
    ],
)
def test_what_makes_no_sense_is_refused(house: House, address: str, status: int) -> None:
    assert house.client.get(address).status_code == status


def test_what_if_moves_nothing_that_is_stored(house: House) -> None:
    with nothing_changes(house.context.db):
        usual = words(page(house, f"/reports/what-if?{DAYS}"))
        off = words(page(house, f"/reports/what-if?{DAYS}&click=0&view=0"))
    assert "0 conversions would be credited differently of 3." in usual
    assert "3 conversions would be credited differently of 3." in off
    assert "No ad" in off


def test_first_answers_say_when_there_was_none(house: House) -> None:
    assert "No conversations started in this period." in words(page(house, f"/reports/responses?{DAYS}"))


def test_another_business_finds_none_of_it(
    traffic: Traffic, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_house(tmp_path_factory.mktemp("stranger")) as stranger:
        stranger.sign_in()
        assert stranger.client.get(f"/reports?advertiser_id={traffic.house.advertiser_id}").status_code == 404
