"""Dates and times in absurd years, in each place where people and programs type them."""

from datetime import UTC, datetime

import pytest

from contatto.kit.ids import new_id
from contatto.kit.values import YEARS
from tests import make
from tests.journeys.running import House, csrf_of

DAYS = ("9999-12-31", "0001-01-01", "2200-01-01", "1969-12-31", "275760-09-13")
SAYS = f"Enter a year from {YEARS[0]} to {YEARS[-1]}."


def post(house: House, path: str, **fields: str) -> tuple[int, str]:
    token = csrf_of(house.client.get("/leads/import").text)
    answer = house.client.post(path, data={"csrf_token": token} | fields)
    return answer.status_code, answer.text


@pytest.mark.parametrize("day", DAYS)
def test_an_absurd_year_on_a_page_is_refused_with_the_years_that_fit(house: House, day: str) -> None:
    house.sign_in()
    campaign = house.make_ad("LEAD_GENERATION")["campaign_id"]
    lead = house.context.db.write_now(lambda tx: make.lead(tx, house.business_id))
    answers = {
        "due date": post(house, f"/leads/{lead.id}/tasks", text="send the offer", due_on=day),
        "first day": post(house, f"/ads/campaigns/{campaign}/ad-groups", starts_on=day),
        "last day": post(house, f"/ads/campaigns/{campaign}/ad-groups", ends_on=day),
        "scheduled reply": post(house, f"/inbox/{new_id()}/scheduled", text="Hi", at=f"{day}T10:00:00.000Z"),
    }
    for path in ("/leads?from=", "/leads?to=", "/leads/rows?from=", "/reports?since=", "/reports?until=",
                 "/reports/csv?since=", "/reports/sources?since=", "/reports/sources?until="):  # fmt: skip
        answer = house.client.get(path + day)
        answers[path] = (answer.status_code, answer.text)
    faults = {place: status for place, (status, page) in answers.items() if status != 422 or SAYS not in page}
    assert not faults
    status, _ = post(house, f"/inbox/{new_id()}/snooze", span=day, revision="1")
    assert status in (404, 422)


@pytest.mark.parametrize("moment", ["9999-12-31 23:59:59", "0001-01-01 00:00:00", "2200-01-01 00:00:00"])
def test_an_absurd_year_in_the_api_is_refused(house: House, moment: str) -> None:
    made = house.make_ad("LEAD_GENERATION")
    between = {"start": moment, "end": moment}
    answers = [
        house.api("POST", "/adgroup/update/", adgroup_id=made["adgroup_id"], schedule_end_time=moment),
        house.api("POST", "/adgroup/update/", adgroup_id=made["adgroup_id"], schedule_start_time=moment),
        house.api("GET", "/page/get/", update_time_range=between),
    ]
    for answer in answers:
        assert answer["code"] == 40002
        assert "between the years 1970 and 2199" in answer["message"]
    report = {
        "report_type": "BASIC",
        "data_level": "AUCTION_AD",
        "dimensions": ["ad_id"],
        "metrics": ["spend"],
    }
    day = moment[:10]
    assert (
        house.api("GET", "/report/integrated/get/", **report, start_date=day, end_date=day)["code"] == 40002
    )


def test_a_typed_date_of_today_passes(house: House) -> None:
    house.sign_in()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert house.client.get("/reports", params={"since": today, "until": today}).status_code == 200
    assert house.client.get("/leads", params={"from": today}).status_code == 200
