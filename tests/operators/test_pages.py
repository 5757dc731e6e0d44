"""The pages of marketplaces: a business asks and sees the answer; the operator admits, reviews, is paid."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from contatto.accounts.actions import NewMember, add_member
from contatto.accounts.model import BusinessId, Role
from contatto.ads.store import ad_groups
from contatto.kit.db.statements import insert_new
from contatto.kit.db.tx import Tx, row_of
from contatto.operators import actions, store
from contatto.operators.model import AdmissionState, AdReview, ReviewState
from tests.journeys.running import PASSWORD, House, csrf_of, running_house, weak_hash
from tests.operators.marketplace import send_all

HOST = "host@example.com"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house"), worker="separate") as running:
        running.make_ad("CONVERSATION")
        yield running


@pytest.fixture(scope="module")
def operator_id(house: House) -> str:
    hashed = weak_hash(PASSWORD)

    def work(tx: Tx) -> str:
        made = actions.open_operator(tx, "The Forum", "UTC")
        add_member(tx, BusinessId(made.business_id), NewMember(HOST, "Host", Role.OWNER), hashed)
        return made.business_id

    return house.context.db.write_now(work)


def found_links(page: str) -> list[str]:
    """The pages in the navigation."""
    return re.findall(r'class="rail__link" href="([^"]+)"', page)


def enter(house: House, email: str) -> None:
    house.client.cookies.clear()
    form = {"email": email, "password": PASSWORD, "csrf_token": csrf_of(house.client.get("/login").text)}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303


def press(house: House, path: str, status: int = 303, **form: str) -> str:
    page = house.client.get("/settings/marketplaces").text
    sent = form | {"csrf_token": csrf_of(page)}
    answer = house.client.post(path, data=sent, follow_redirects=False)
    assert answer.status_code == status, answer.text
    return answer.text


def test_an_operator_begins_with_the_marketplace(house: House, operator_id: str) -> None:
    enter(house, HOST)
    assert house.client.get("/", follow_redirects=False).headers["location"] == "/operator"
    shown = house.client.get("/operator").text
    assert found_links(shown) == ["/operator", "/settings"]
    assert "First steps" not in shown
    reports = house.client.get("/reports")
    assert reports.status_code == 404
    assert "Add one under Settings, Ad accounts." in reports.text
    press(house, "/operator/placements", status=422, name="Front", currency="XYZ", floor="2.5")


def check_statement(house: House, operator_id: str, ad_account_id: str) -> None:
    """The operator's statement has payments, and charges under the names of ad groups."""
    db = house.context.db
    (group,) = db.read_now(lambda tx: tx.execute(select(ad_groups)).mappings().all())
    charged = {
        "operator_id": operator_id, "business_id": house.business_id, "ad_group_id": group["id"],
        "placement_id": "p1", "ad_account_id": ad_account_id, "day": "2026-11-02",
        "views": 9, "clicks": 1, "charged_micros": 2_000_000,
    }  # fmt: skip
    db.write_now(lambda tx: tx.insert(store.placed_days, charged))
    statement = house.client.get("/operator/statement.csv").text
    assert "wire" in statement
    assert ",CONVERSATION group," in statement
    assert group["id"] not in statement


def test_a_business_takes_part_and_the_operator_runs_its_marketplace(house: House, operator_id: str) -> None:
    db = house.context.db
    house.sign_in()
    assert "The Forum" in house.client.get("/settings/marketplaces").text
    press(house, "/settings/marketplaces", operator_id=operator_id, category="food")
    press(house, "/settings/marketplaces", status=409, operator_id=operator_id, category="food")
    assert "Pending approval" in house.client.get("/settings/marketplaces").text
    assert house.client.get("/operator").status_code == 404

    enter(house, HOST)
    assert "No placement yet" in house.client.get("/operator").text
    press(house, "/operator/placements", status=422, name="Front", currency="SGD", floor="0.1")
    press(house, "/operator/placements", name="Front", currency="sgd", floor="2.5", most_views="3")
    press(house, "/operator/businesses", status=422, business_id=house.business_id, state="refused")
    press(house, "/operator/businesses", business_id=house.business_id, state="admitted")
    send_all(db)
    page = house.client.get("/operator").text
    assert "Write to us" in page
    waiting = db.read_now(lambda tx: store.list_reviews(tx, operator_id, ReviewState.PENDING))
    for each in [*waiting, send_film(house, waiting[0])]:
        press(house, "/operator/reviews", ad_id=each.ad_id, digest=each.digest, state="approved")
    (balance,) = db.read_now(lambda tx: store.list_balances(tx, operator_id))
    press(house, "/operator/payments", ad_account_id=balance.ad_account_id, amount="1,000.50", note="wire")
    press(house, "/operator/payments", ad_account_id=balance.ad_account_id, amount="20", is_credit="true")
    code = re.search(r'id="join-code">(join_[\w-]+)<', press(house, "/operator/codes", status=200))
    assert code is not None
    (paid,) = db.read_now(lambda tx: store.list_balances(tx, operator_id))
    assert (paid.paid_in_micros, paid.credit_micros) == (1_000_500_000, 20_000_000)
    check_statement(house, operator_id, balance.ad_account_id)
    change_rules(house, operator_id)
    press(house, "/operator/businesses", business_id=house.business_id, category="health")
    press(house, "/operator/businesses", status=404, business_id="nobody", category="health")
    house.sign_in()
    page = house.client.get("/settings/marketplaces").text
    assert "Category: Health." in page
    assert "Approved" in page
    assert "1,000.50" in page
    press(house, "/settings/marketplaces/leave", operator_id=operator_id)
    press(house, "/settings/marketplaces/code", code=code.group(1), category="food")
    admission = db.read_now(lambda tx: store.find_admission(tx, operator_id, house.business_id))
    assert admission is not None
    assert (admission.state, admission.category) == (AdmissionState.ADMITTED, "food")
    press(house, "/settings/marketplaces/code", status=404, code=code.group(1), category="food")


def send_film(house: House, sent: AdReview) -> AdReview:
    """An ad with a video is sent too; its review says which video that is."""
    film = replace(sent, digest="a" * 64, video_id="film-1")
    house.context.db.write_now(lambda tx: insert_new(tx, store.ad_reviews, [row_of(film)]))
    assert 'Video: <bdi dir="ltr">film-1</bdi>' in house.client.get("/operator").text
    return film


def change_rules(house: House, operator_id: str) -> None:
    """Change the placement, and look at it before and afterwards."""
    db = house.context.db
    (placement,) = db.read_now(lambda tx: store.list_placements(tx, operator_id))
    assert (placement.currency, placement.floor_micros, placement.most_views) == ("SGD", 2_500_000, 3)
    press(house, "/operator/placements", placement_id=placement.id, name="Front page", floor="3")
    (placement,) = db.read_now(lambda tx: store.list_placements(tx, operator_id))
    assert (placement.name, placement.floor_micros, placement.is_on) == ("Front page", 3_000_000, False)


def test_nobody_but_its_members_changes_a_marketplace(house: House, operator_id: str) -> None:
    house.client.cookies.clear()
    house.sign_in()
    for path in ("placements", "businesses", "reviews", "payments", "codes"):
        press(house, f"/operator/{path}", status=404, business_id=operator_id)
