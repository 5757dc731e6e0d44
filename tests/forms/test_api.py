"""Forms and leads in the API: lists, fields, test leads that travel, and files that are kept for minutes."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from contatto.forms.actions import LEAD_FILES
from contatto.forms.model import FormVersion
from contatto.forms.rules.views import field_labels
from contatto.kit.db.tx import Tx
from contatto.kit.exports import export_jobs
from contatto.kit.values import micros
from tests.forms.edges import offer, send
from tests.forms.papers import kitchen, published
from tests.journeys.running import API, House, message, running_house, until
from tests.unchanged import all_rows, nothing_changes

DM = {"lead_source": "DIRECT_MESSAGE"}
FORM = {"lead_source": "INSTANT_FORM"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture(scope="module")
def version(house: House) -> FormVersion:
    """A form whose one lead came through the chat page."""
    made = offer(house, kitchen())
    answers = {"q1": "b", "q4": "Mei Lin", "q5": "mei@example.com", "q6": "9123 4567"}
    assert send(house, made, answers).status_code == 200
    return made


@pytest.fixture(scope="module")
def ad(house: House) -> dict[str, str]:
    """An ad for leads; one person tapped it and shared a number in the chat."""
    made = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    now_ms = micros(house.context.clock.now()) // 1_000
    opened = {"ad": {"ad_id": made["ad_id"], "timestamp": now_ms - 5_000}, "source": "ad"}
    said = message("call +65 8123 4567", "u1", now_ms)
    house.webhook("im_referral_msg", message("hi", "u1", now_ms - 5_000) | {"referral": opened})
    house.webhook("im_receive_msg", said)
    assert until(lambda: house.api("GET", "/lead/get/", **DM)["code"] == 0)
    return made


def page(version: FormVersion) -> dict[str, str]:
    return {"page_id": str(version.number)}


def download(house: House, **asked: str) -> list[dict[str, str]]:
    task = house.data("POST", "/page/lead/task/", **asked)["task_id"]

    def is_done() -> Any:
        found = house.data("POST", "/page/lead/task/", task_id=task)
        return found if found["status"] == "SUCCEED" else None

    assert until(is_done)["file_type"] == "csv"
    answer = fetch(house, task)
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def fetch(house: House, task: str) -> httpx2.Response:
    query = {"advertiser_id": house.advertiser_id, "task_id": task}
    headers = {"Access-Token": house.token}
    return house.client.get(f"{API}/page/lead/task/download/", params=query, headers=headers)


def test_pages_are_published_versions_and_open_drafts(house: House, version: FormVersion) -> None:
    def work(tx: Tx) -> None:
        published(tx, house.business_id, name="Another")

    house.context.db.write_now(work)
    listed = house.data("GET", "/page/get/")["list"]
    assert {row["title"] for row in listed} >= {"Quote", "Another"}
    row = next(row for row in listed if row["page_id"] == str(version.number))
    assert row["status"] == "PUBLISHED"
    assert row["preview_url"].endswith(f"/test/{version.number}")
    assert house.data("GET", "/page/get/", title="anoth")["page_info"]["total_number"] == 1
    assert house.data("GET", "/page/get/", status="EDITED")["list"] == []
    assert house.data("GET", "/page/get/", business_type="POP_UP_FORM")["list"] == []
    span = {"start": "2020-01-01 00:00:00", "end": "2020-01-02 00:00:00"}
    assert house.data("GET", "/page/get/", update_time_range=span)["list"] == []
    refused = house.api("GET", "/page/get/", status="OLD")
    assert refused["code"] == 40002
    assert "'EDITED' or 'PUBLISHED'" in refused["message"]


def test_fields_are_labels_of_the_form_or_kinds_of_contact_details(
    house: House, version: FormVersion
) -> None:
    labels = list(field_labels(version.content).values())
    found = house.data("GET", "/page/field/get/", **page(version))
    assert found["fields"] == labels
    assert found["meta_data"]["page_id"] == str(version.number)
    assert house.data("GET", "/lead/field/get/", **FORM, **page(version))["fields"] == labels
    chat = house.data("GET", "/lead/field/get/", **DM)["fields"]
    assert chat[:3] == ["name", "email", "phone"]
    assert len(chat) == 13


def test_a_lead_of_a_form_has_its_answers_by_label(house: House, version: FormVersion) -> None:
    found = house.data("GET", "/lead/get/", **FORM, **page(version))
    assert found["lead_data"] == {
        "Label of q1": "Option b", "Label of q4": "Mei Lin", "Label of q5": "mei@example.com",
        "Label of q6": "+6591234567",
    }  # fmt: skip
    meta = found["meta_data"]
    assert (meta["lead_source"], meta["page_id"]) == ("INSTANT_FORM", str(version.number))
    again = house.data("GET", "/lead/get/", lead_id=meta["lead_id"], **FORM, **page(version))
    assert again == found


def test_a_lead_of_the_chat_has_contact_details_and_its_ad(house: House, ad: dict[str, str]) -> None:
    found = house.data("GET", "/lead/get/", **DM)
    assert found["lead_data"] == {"name": "name of u1", "phone": "+6581234567"}
    meta = found["meta_data"]
    assert {name: meta[name] for name in ad} == ad
    assert meta["page_id"] == ""
    assert house.data("GET", "/lead/get/", lead_id=meta["lead_id"], **DM) == found


@pytest.mark.parametrize(
    ("asked", "code", "names"),
    [
        (DM | {"page_id": "1"}, 40002, "page_id"),
        ({"lead_source": "INSTANT_FORM"}, 40002, "page_id"),
        ({"lead_source": "FAX"}, 40002, "lead_source"),
        ({"page_id": "1"}, 40002, "lead_source"),
        (FORM | {"page_id": "1"}, 40007, "page_id"),
        (DM | {"lead_id": "1"}, 40007, "lead_id"),
        (DM | {"lead_id": "x"}, 40002, "lead_id"),
    ],
)
def test_a_wrong_question_for_a_lead_is_told_what_is_wrong(
    house: House, asked: dict[str, str], code: int, names: str
) -> None:
    refused = house.api("GET", "/lead/get/", **asked)
    assert (refused["code"], refused["message"].startswith(f"{names}: ")) == (code, True)


def test_a_lead_of_one_source_is_not_shown_as_of_the_other(
    house: House, version: FormVersion, ad: dict[str, str]
) -> None:
    form_lead = house.data("GET", "/lead/get/", **FORM, **page(version))["meta_data"]["lead_id"]
    chat_lead = house.data("GET", "/lead/get/", **DM)["meta_data"]["lead_id"]
    assert house.api("GET", "/lead/get/", lead_id=form_lead, **DM)["code"] == 40007
    assert house.api("GET", "/lead/get/", lead_id=chat_lead, **FORM, **page(version))["code"] == 40007


def test_the_file_of_a_form_has_a_column_for_each_question(house: House, version: FormVersion) -> None:
    rows = download(house, **page(version))
    assert len(rows) == 1
    labels = list(field_labels(version.content).values())
    assert list(rows[0]) == [
        "lead id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
        "campaign_name", "form_id", "form_name", *labels, "is_test",
    ]  # fmt: skip
    assert rows[0]["Label of q6"] == "+6591234567"
    assert (rows[0]["form_id"], rows[0]["is_test"]) == (str(version.number), "FALSE")


def test_the_file_of_an_ad_has_leads_of_the_chat_with_their_source(house: House, ad: dict[str, str]) -> None:
    rows = download(house, ad_id=ad["ad_id"])
    assert [(row["phone"], row["lead_source"], row["adgroup_id"]) for row in rows] == [
        ("+6581234567", "DIRECT_MESSAGE", ad["adgroup_id"])
    ]


@pytest.mark.parametrize(
    ("asked", "code"),
    [({}, 40002), ({"page_id": "1", "ad_id": "2"}, 40002), ({"page_id": "1"}, 40007), ({"ad_id": "1"}, 40007),
     ({"task_id": "1"}, 40007), ({"page_id": 1.5}, 40002)],
)  # fmt: skip
def test_a_wrong_order_for_a_file_changes_nothing(house: House, asked: dict[str, Any], code: int) -> None:
    with nothing_changes(house.context.db):
        assert house.api("POST", "/page/lead/task/", **asked)["code"] == code


def test_a_file_is_good_for_ten_minutes_and_sealed_at_rest(house: House, version: FormVersion) -> None:
    task = house.data("POST", "/page/lead/task/", **page(version))["task_id"]
    assert until(lambda: fetch(house, task).headers["content-type"].startswith("text/csv"))

    assert "mei@example.com" not in str(all_rows(house.context.db)["export_jobs"])
    earlier = datetime.now(UTC) - LEAD_FILES.link - timedelta(seconds=1)
    house.context.db.write_now(lambda tx: tx.execute(update(export_jobs).values(finished_at=earlier)))
    assert "older than ten minutes" in fetch(house, task).json()["message"]


def test_a_test_lead_is_one_for_each_form_travels_and_counts_nowhere(house: House) -> None:
    form = house.context.db.write_now(lambda tx: published(tx, house.business_id, kitchen(), "Trial"))
    assert house.api("GET", "/page/lead/mock/get/", **page(form))["code"] == 40007
    made = house.data("POST", "/page/lead/mock/create/", **page(form))
    lead_id = made["meta_data"]["lead_id"]
    assert made["meta_data"]["is_test"] is True
    assert made["lead_data"]["Label of q5"].endswith("@example.com")
    for same in (house.data("POST", "/page/lead/mock/create/", **page(form)),
                 house.data("GET", "/page/lead/mock/get/", **page(form)),
                 house.data("GET", "/lead/get/", **FORM, **page(form))):  # fmt: skip
        assert same["meta_data"]["lead_id"] == lead_id
    assert [row["is_test"] for row in download(house, **page(form))] == ["TRUE"]
    deleted = house.data("POST", "/page/lead/mock/delete/", lead_id=lead_id)
    assert deleted == {"lead_id": lead_id}
    assert house.api("GET", "/page/lead/mock/get/", **page(form))["code"] == 40007


def test_a_test_lead_of_the_chat_is_no_conversion(house: House, ad: dict[str, str]) -> None:
    before = house.report()
    real = house.data("GET", "/lead/get/", **DM)["meta_data"]["lead_id"]
    with nothing_changes(house.context.db):
        assert house.api("POST", "/page/lead/mock/delete/", lead_id=real)["code"] == 40007
    made = house.data("POST", "/page/lead/mock/create/", **DM)
    assert set(made["lead_data"]) == {"name", "email", "phone"}
    assert house.report() == before
    house.data("POST", "/page/lead/mock/delete/", lead_id=made["meta_data"]["lead_id"])
