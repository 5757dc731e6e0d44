"""The edit forms through the running app: what changes, what stays, and two who edit at once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts.model import Role
from contatto.ads import store
from contatto.ads.actions.campaigns import AdGroupChanges, load_ad_account, update_ad_group
from contatto.ads.model import Ad, AdGroup, Audit
from contatto.audit import list_audit_entries
from contatto.kit.db.tx import Tx
from tests.ads.test_pages import add_audience, post
from tests.ads.world import add_chain, add_world
from tests.journeys.running import House, csrf_of, running_house
from tests.leads.test_center_pages import sign_in_as
from tests.unchanged import nothing_changes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def fields_of(page: str) -> dict[str, Any]:
    """What a browser would send of the big form of a page, as it stands."""
    found: dict[str, list[str]] = {}
    form = re.search(r'<form class="stack" id="[a-z-]+".*?</form>', page, re.DOTALL)
    assert form
    text = form.group(0)
    for tag in re.findall(r"<input[^>]*>", text):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        ticked = ("checkbox" not in tag and "radio" not in tag) or " checked" in tag
        if name and value and ticked and name.group(1) != "csrf_token":
            found.setdefault(name.group(1), []).append(value.group(1))
    for name, body in re.findall(r'<select[^>]*name="([^"]*)".*?>(.*?)</select>', text, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        found[name] = [chosen.group(1) if chosen else ""]
    for name, body in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', text, re.DOTALL):
        found[name] = [body]
    return found


def edit(house: House, path: str, **changes: Any) -> Any:
    """Open a form, change some fields and send it."""
    return post(house, path, **fields_of(house.client.get(path).text) | changes)


def group_of(house: House, number: str) -> dict[str, Any]:
    [found] = house.data("GET", "/adgroup/get/", filtering={"adgroup_ids": [number]})["list"]
    return found


def test_a_form_that_is_sent_as_it_was_opened_changes_nothing_but_the_time(house: House) -> None:
    ids = house.make_ad("LEAD_GENERATION")
    regulars = add_audience(house, house.business_id, "Regulars")

    def target(tx: Tx) -> None:
        group = store.find_node(tx, AdGroup, house.business_id, number=int(ids["adgroup_id"]))
        assert group is not None
        account = load_ad_account(tx, house.business_id, group.ad_account_id)
        parts = {"languages": ("en",), "audience_ids": (regulars,)}
        update_ad_group(tx, account, int(ids["adgroup_id"]), AdGroupChanges(targeting=parts))

    house.context.db.write_now(target)
    for kind, name in (("campaigns", "campaign"), ("ad-groups", "adgroup"), ("ads", "ad")):
        number = ids[f"{name}_id"]
        asked = {"filtering": {f"{name}_ids": [number]}}
        [before] = house.data("GET", f"/{name}/get/", **asked)["list"]
        answer = edit(house, f"/ads/{kind}/{number}/edit")
        assert (answer.status_code, answer.headers.get("location")) == (303, f"/ads#{kind}-{number}")
        [after] = house.data("GET", f"/{name}/get/", **asked)["list"]
        assert before | {"modify_time": ""} == after | {"modify_time": ""}
        [entry] = house.context.db.read_now(lambda tx: list_audit_entries(tx, house.business_id, (0, 1)))
        assert f"={number}" in entry.object  # the audit log names the node


def test_an_ad_group_changes_what_was_typed_and_keeps_what_is_frozen(house: House) -> None:
    number = house.make_ad("LEAD_GENERATION")["adgroup_id"]
    path = f"/ads/ad-groups/{number}/edit"
    page = house.client.get(path).text
    for part in ("Fixed settings", "7-day click, 1-day view", "This date has passed and cannot change."):
        assert part in page
    for name in ("click_window_days", "view_window_days", "budget_mode", "starts_on"):
        assert f'name="{name}"' not in page
    changed = edit(
        house, path, name="Dinner people", budget="75.50", bid="4", country=["SG", "MY"], languages=["id"],
        frequency="2", frequency_schedule="1", ends_on="2099-12-24", goal="conversation",
        click_window_days="28", budget_mode="BUDGET_MODE_TOTAL",
    )  # fmt: skip
    assert changed.status_code == 303, changed.text
    expected = {
        "adgroup_name": "Dinner people", "budget": 75.5, "budget_mode": "BUDGET_MODE_DAY",
        "conversion_bid_price": 4.0, "location_ids": ["1733045", "1880251"], "languages": ["id"],
        "schedule_end_time": "2099-12-24 16:00:00", "optimization_goal": "LEAD_GENERATION",
        "click_attribution_window": "SEVEN_DAYS", "frequency": 2, "frequency_schedule": 1,
    }  # fmt: skip
    group = group_of(house, number)
    assert {name: group[name] for name in expected} == expected
    emptied = edit(house, path, bid="", ends_on="", languages=[], frequency="", frequency_schedule="")
    assert emptied.status_code == 303, emptied.text
    group = group_of(house, number)
    assert (group["bid_type"], group["schedule_type"]) == ("BID_TYPE_NO_BID", "SCHEDULE_FROM_NOW")
    assert not group["languages"]
    assert (group["frequency"], group["frequency_schedule"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": " "}, "name-error"),
        ({"budget": ""}, "budget-error"),
        ({"budget": "plenty"}, "budget-error"),
        ({"bid": "99"}, "bid-error"),
        ({"country": []}, "countries-error"),
        ({"country": ["SG", "IT"]}, "goal-error"),
        ({"ends_on": "2020-01-01"}, "ends_on-error"),
        ({"page_id": "123"}, "page_id-error"),
        ({"frequency": "2"}, "frequency_schedule-error"),
        ({"audience_ids": ["123"]}, "audience_ids-error"),
    ],
)
def test_a_mistake_in_an_edit_changes_nothing_and_keeps_what_was_typed(
    house: House, changes: dict[str, Any], error: str
) -> None:
    number = house.make_ad("LEAD_GENERATION")["adgroup_id"]
    with nothing_changes(house.context.db):
        answer = edit(house, f"/ads/ad-groups/{number}/edit", **{"name": "Kept <name>"} | changes)
    assert answer.status_code == 422
    assert f'id="{error}"' in answer.text
    assert "name" in changes or "Kept &lt;name&gt;" in answer.text


@pytest.mark.parametrize(
    ("kind", "key"), [("campaigns", "campaign"), ("ad-groups", "adgroup"), ("ads", "ad")]
)
def test_the_second_of_two_editors_is_told_and_may_decide(house: House, kind: str, key: str) -> None:
    number = house.make_ad("CONVERSATION")[f"{key}_id"]
    path = f"/ads/{kind}/{number}/edit"
    opened = fields_of(house.client.get(path).text)
    assert edit(house, path, name="The first one's").status_code == 303

    with nothing_changes(house.context.db):
        told = post(house, path, **opened | {"name": "The second one's"})
    assert told.status_code == 409
    assert "Somebody else changed this in the meantime." in told.text
    assert "The second one&#39;s" in told.text
    over = re.search(r'name="over" value="(\d+)"', told.text)
    assert over
    with nothing_changes(house.context.db):
        assert post(house, path, **opened | {"name": "Again"}).status_code == 409
    decided = post(house, path, **opened | {"name": "The second one's", "over": over.group(1)})
    assert decided.status_code == 303
    assert "The second one&#39;s" in house.client.get("/ads").text


def test_a_form_that_does_not_say_what_its_writer_saw_is_refused(house: House) -> None:
    number = house.make_ad("CONVERSATION")["ad_id"]
    path = f"/ads/ads/{number}/edit"
    opened = fields_of(house.client.get(path).text)
    for seen in ("", "soon", "-1", "9" * 40):
        with nothing_changes(house.context.db):
            assert post(house, path, **opened | {"seen": seen}).status_code == 409


def test_new_texts_of_an_ad_wait_for_the_operator_where_ads_are_reviewed(tmp_path: Path) -> None:
    with running_house(tmp_path, ad_review="operator") as house:
        house.sign_in()
        ids = house.make_ad("CONVERSATION")
        made = post(house, f"/ads/ad-groups/{ids['adgroup_id']}/ads", name="By hand", headline="Coffee?")
        assert made.status_code == 303
        number = re.findall(r"\d+", made.headers["location"])[0]

        def audit(tx: Tx) -> Audit:
            ad = store.find_node(tx, Ad, house.business_id, number=int(number))
            assert ad
            return ad.audit

        assert house.context.db.read_now(audit) is Audit.AUDITING


def test_what_is_anothers_or_gone_cannot_be_edited(house: House) -> None:
    theirs = house.context.db.write_now(lambda tx: add_chain(tx, add_world(tx)))
    for path in (
        f"/ads/campaigns/{theirs.campaign.number}/edit",
        f"/ads/ad-groups/{theirs.ad_group.number}/edit",
        f"/ads/ads/{theirs.ad.number}/edit",
        "/ads/ads/1/edit",
    ):
        assert house.client.get(path).status_code == 404
        with nothing_changes(house.context.db):
            assert post(house, path, name="Mine", headline="Mine", seen="1").status_code == 404


def test_who_may_not_change_ads_gets_no_form_and_no_link_to_it(house: House) -> None:
    number = house.make_ad("CONVERSATION")["campaign_id"]
    path = f"/ads/campaigns/{number}/edit"
    assert f'href="{path}"' in house.client.get("/ads").text
    assert house.client.post(path, data={"name": "Mine"}).status_code == 403
    sign_in_as(house, Role.ANALYST)
    page = house.client.get("/ads")
    assert page.status_code == 200
    assert f'href="{path}"' not in page.text
    assert house.client.get(path).status_code == 403
    with nothing_changes(house.context.db):
        token = csrf_of(page.text)
        assert house.client.post(path, data={"name": "Mine", "csrf_token": token}).status_code == 403
