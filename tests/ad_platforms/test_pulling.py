"""Reading an ad account elsewhere from a second Contatto, with everything that goes wrong on the way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from contatto.ad_platforms import actions, store
from contatto.ad_platforms.actions import NewOutsideAccount
from contatto.ad_platforms.model import (
    AdDay,
    AdPlatform,
    NodeLevel,
    OutsideAccount,
    OutsideStatus,
    Part,
    PullState,
    Walk,
)
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, RequestState, SendFailure
from contatto.kit.outbound.queue import list_failed_jobs, list_requests_of
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.store import list_measured_ads
from tests import make
from tests.ad_platforms.counterpart import Counterpart, json_answer, noon, pull, send_for_real, spend
from tests.conformance.conftest import running_server_house
from tests.journeys.running import House

HOUR = timedelta(hours=1)
ALLOWED = ("127.0.0.1:*",)
ALL_DAYS = ("2025-01-01", "2026-12-31")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A second Contatto, whose ads cost something."""
    with running_server_house(tmp_path_factory.mktemp("elsewhere")) as house:
        yield house


@pytest.fixture(scope="module")
def ads(elsewhere: House) -> dict[str, dict[str, str]]:
    """One ad of each goal, which cost 3.75 on 30 December, and 2.50 on the 31st."""
    made = {goal: elsewhere.make_ad(goal) for goal in ("LEAD_GENERATION", "CONVERSATION")}
    spend(elsewhere, made["LEAD_GENERATION"]["ad_id"], noon(30, 12).replace(year=2025), [1.25, 2.5], clicks=1)
    spend(elsewhere, made["CONVERSATION"]["ad_id"], noon(31, 12).replace(year=2025), [2.5])
    return made


@dataclass
class World:
    """A business here, and a second Contatto with its ads."""

    database: Database
    clock: FixedClock
    elsewhere: House
    ads: dict[str, dict[str, str]]
    business_id: str

    def connect(self, business_id: str = "", **changes: Any) -> str:
        url = str(self.elsewhere.client.base_url).rstrip("/")
        values: dict[str, Any] = {"external_id": self.elsewhere.advertiser_id, "base_url": url}
        new = NewOutsideAccount(
            platform=AdPlatform.TIKTOK, **values | {"access_token": self.elsewhere.token} | changes
        )
        owner = business_id or self.business_id
        return self.database.write_now(lambda tx: actions.connect_outside_account(tx, owner, new, ALLOWED).id)

    def pull(self, *tricks: Any) -> Counterpart:
        other = Counterpart(send_for_real, list(tricks))
        pull(self.database, other)
        return other

    def later(self, wait: timedelta) -> None:
        self.clock.advance(seconds=wait.total_seconds())

    def account(self, account_id: str, business_id: str = "") -> OutsideAccount:
        owner = business_id or self.business_id
        return self.database.read_now(lambda tx: actions.load_outside_account(tx, owner, account_id))

    def spent(self, account_id: str, business_id: str = "") -> dict[tuple[int, str], AdDay]:
        mine = self.account(account_id, business_id)
        days = self.database.read_now(lambda tx: store.list_ad_days(tx, mine, ALL_DAYS))
        return {(day.ad_number, day.day): day for day in days}

    def ads_of(self, account_id: str) -> dict[int, OutsideStatus]:
        mine = self.account(account_id)
        found = self.database.read_now(lambda tx: store.list_nodes(tx, mine, NodeLevel.AD))
        return {node.number: node.status for node in found}

    def state(self, account_id: str) -> tuple[PullState, str]:
        found = self.account(account_id)
        return found.state, found.reason

    @property
    def lead_ad(self) -> int:
        return int(self.ads["LEAD_GENERATION"]["ad_id"])

    @property
    def chat_ad(self) -> int:
        return int(self.ads["CONVERSATION"]["ad_id"])

    def measured(self, business_id: str = "") -> dict[str, MeasuredAd]:
        owner = business_id or self.business_id
        return self.database.read_now(lambda tx: list_measured_ads(tx, owner))


@pytest.fixture
def world(database: Database, clock: FixedClock, elsewhere: House, ads: dict[str, dict[str, str]]) -> World:
    owner = database.write_now(lambda tx: make.business(tx))
    return World(database, clock, elsewhere, ads, owner.id)


def test_a_pull_mirrors_ads_with_their_goal_and_what_they_cost_each_day(world: World) -> None:
    account_id = world.connect()
    other = world.pull()
    assert other.names == [
        "advertiser/info",
        "campaign/get",
        "adgroup/get",
        "ad/get",
        *["report/integrated/get"] * 4,
    ]
    found = world.account(account_id)
    assert (found.name, found.currency, found.timezone) == ("Main", "SGD", "Asia/Singapore")
    assert (found.state, found.pulled_through) == (PullState.READY, "2026-01-01")
    known = world.measured()
    by_number = {str(ad.ad_number): ad for ad in known.values()}
    for goal, shown in (("LEAD_GENERATION", Goal.LEAD), ("CONVERSATION", Goal.CONVERSATION)):
        ad = by_number[world.ads[goal]["ad_id"]]
        assert (ad.goal, ad.platform, ad.currency) == (shown, "tiktok", "SGD")
        assert str(ad.ad_group_number) == world.ads[goal]["adgroup_id"]
        assert str(ad.campaign_number) == world.ads[goal]["campaign_id"]
        assert (ad.click_window_s, ad.view_window_s) == (7 * 86_400, 86_400)
    days = world.spent(account_id)
    lead_ad, chat_ad = world.lead_ad, world.chat_ad
    assert days[lead_ad, "2025-12-30"] == AdDay(lead_ad, "2025-12-30", 3_750_000, 2, 1)
    assert days[chat_ad, "2025-12-31"] == AdDay(chat_ad, "2025-12-31", 2_500_000, 1, 0)


def test_a_second_pull_changes_nothing_and_reads_only_what_may_be_corrected(world: World) -> None:
    account_id = world.connect()
    world.pull()
    before = world.spent(account_id)
    other = world.pull()
    assert other.asked == []  # it is not its time yet
    world.later(HOUR + timedelta(minutes=30))
    other = world.pull()
    assert world.spent(account_id) == before
    assert other.names.count("report/integrated/get") == 1
    assert "start_date=2025-12-29" in other.asked[-1].url


def test_what_a_platform_corrects_is_replaced_and_what_it_takes_back_is_gone(world: World) -> None:
    lead_ad = world.lead_ad

    def corrected(_: HttpRequest, found: HttpAnswer) -> HttpAnswer:
        said = json.loads(found.body)
        rows = said["data"]["list"]
        kept = [row for row in rows if row["dimensions"]["ad_id"] == str(lead_ad)]
        for row in kept:
            row["metrics"]["spend"] = "1.10"
        said["data"]["list"] = kept
        return json_answer(json.dumps(said))

    account_id = world.connect()
    world.pull()
    world.later(2 * HOUR)
    world.pull(None, None, None, None, corrected)
    days = world.spent(account_id)
    assert {key: day.spend_micros for key, day in days.items()} == {(lead_ad, "2025-12-30"): 1_100_000}


def test_an_ad_that_is_deleted_there_stays_with_what_it_cost(world: World) -> None:
    gone = world.lead_ad

    def without_it(_: HttpRequest, found: HttpAnswer) -> HttpAnswer:
        said = json.loads(found.body)
        said["data"]["list"] = [row for row in said["data"]["list"] if row["ad_id"] != str(gone)]
        return json_answer(json.dumps(said))

    account_id = world.connect()
    world.pull()
    assert world.ads_of(account_id)[gone] is OutsideStatus.ACTIVE
    world.later(2 * HOUR)
    world.pull(None, None, None, without_it)
    assert world.ads_of(account_id)[gone] is OutsideStatus.DELETED
    assert world.spent(account_id)[gone, "2025-12-30"].spend_micros == 3_750_000


def test_what_an_ad_cost_that_nobody_lists_any_more_is_kept_under_its_number(world: World) -> None:
    def empty(_: HttpRequest, found: HttpAnswer) -> HttpAnswer:
        said = json.loads(found.body)
        said["data"]["list"] = []
        return json_answer(json.dumps(said))

    account_id = world.connect()
    world.pull(None, None, None, empty)
    lead_ad = world.lead_ad
    assert world.ads_of(account_id)[lead_ad] is OutsideStatus.DELETED
    known = world.measured()
    assert {ad.ad_number: ad.ad_name for ad in known.values()}[lead_ad] == str(lead_ad)


def test_an_expired_token_stops_the_pull_and_a_new_one_fills_what_is_missing(world: World) -> None:
    account_id = world.connect(access_token="an-expired-token")
    world.pull()
    assert world.state(account_id) == (PullState.STOPPED, "token_refused")
    failed = world.database.read_now(lambda tx: list_failed_jobs(tx, world.business_id, 9))
    assert [each.state for each in failed] == [RequestState.DEAD]
    world.later(timedelta(days=3))
    other = world.pull()
    assert other.asked == []
    world.database.write_now(
        lambda tx: actions.replace_outside_token(tx, world.business_id, account_id, world.elsewhere.token)
    )
    other = world.pull()
    assert world.state(account_id) == (PullState.READY, "")
    assert len(world.spent(account_id)) == 2


@pytest.mark.parametrize(
    ("trick", "reason", "wait"),
    [
        (json_answer("", 429, retry_after="1800"), "http_429", timedelta(seconds=1_800)),
        (json_answer('{"code": 40100, "message": "slow", "data": {}}', retry_after="900"), "too_fast",
         timedelta(seconds=900)),
        (json_answer("", 500), "http_500", timedelta(seconds=60)),
        (json_answer("<html><body>Please wait</body></html>"), "not_json", timedelta(seconds=60)),
        (SendFailure.LOST, "answer_lost", timedelta(seconds=60)),
        (SendFailure.UNREACHED, "unreached", timedelta(seconds=60)),
    ],
)  # fmt: skip
def test_what_passes_is_waited_for_and_the_pull_goes_on_where_it_stood(
    world: World, trick: Any, reason: str, wait: timedelta
) -> None:
    account_id = world.connect()
    world.pull(None, None, trick)
    assert world.state(account_id) == (PullState.RETRYING, reason)
    world.later(wait - timedelta(seconds=1))
    other = world.pull()
    assert other.asked == []
    world.later(timedelta(seconds=2))
    other = world.pull()
    assert other.names[0] == "adgroup/get"
    assert world.state(account_id) == (PullState.READY, "")
    assert len(world.spent(account_id)) == 2


def test_a_platform_that_sends_the_same_page_for_ever_is_not_followed(world: World) -> None:
    def stuck(_: HttpRequest, found: HttpAnswer) -> HttpAnswer:
        said = json.loads(found.body)
        said["data"]["page_info"] |= {"page": 1, "total_page": 9}
        return json_answer(json.dumps(said))

    account_id = world.connect()
    other = world.pull(None, *[stuck] * 99)
    assert world.state(account_id) == (PullState.RETRYING, "repeated_cursor")
    assert other.names.count("campaign/get") == 2


def test_many_pages_are_read_to_their_end(world: World) -> None:
    def small(request: HttpRequest) -> HttpAnswer:
        smaller = request.url.replace("page_size=200", "page_size=1").replace("page_size=500", "page_size=1")
        return send_for_real(HttpRequest(request.method, smaller, request.headers, request.body))

    account_id = world.connect()
    other = Counterpart(small)
    pull(world.database, other)
    assert other.names.count("ad/get") == 2
    assert len(world.ads_of(account_id)) == 2
    assert len(world.spent(account_id)) == 2


def test_a_late_answer_of_an_older_pull_changes_nothing_of_a_newer_one(world: World) -> None:
    account_id = world.connect()
    world.pull()
    mine = world.account(account_id)
    lead_ad = world.lead_ad
    before = world.spent(account_id)

    def late(tx: Tx) -> None:
        store.save_rows(tx, store.outside_days, mine, [AdDay(lead_ad, "2025-12-30", 1, 1, 1)], mark=1)
        store.delete_unseen(tx, mine, Walk(Part.SPEND, first=ALL_DAYS[0], last=ALL_DAYS[1], mark=1))
        store.delete_unseen(tx, mine, Walk(Part.ADS, mark=1))

    world.database.write_now(late)
    assert world.spent(account_id) == before
    assert set(world.ads_of(account_id).values()) == {OutsideStatus.ACTIVE}


def test_two_businesses_and_two_accounts_may_have_the_same_ads(world: World) -> None:
    other_business = world.database.write_now(lambda tx: make.business(tx, "Another")).id
    mine = world.connect()
    theirs = world.connect(other_business)
    world.pull()
    assert world.spent(mine) == world.spent(theirs, other_business) != {}
    known = world.measured()
    others = world.measured(other_business)
    assert len(known) == len(others) == 2
    assert set(known).isdisjoint(others)
    with pytest.raises(Refused):
        world.account(mine, other_business)


def test_a_disconnected_account_keeps_its_figures_and_asks_for_nothing(world: World) -> None:
    account_id = world.connect()
    world.pull()
    world.database.write_now(lambda tx: actions.disconnect_outside_account(tx, world.business_id, account_id))
    world.later(timedelta(days=1))
    other = world.pull()
    assert other.asked == []
    assert len(world.spent(account_id)) == 2
    mine = world.account(account_id)
    assert world.database.read_now(lambda tx: store.find_outside_token(tx, mine)) is None
    assert world.connect() == account_id
    world.pull()
    assert world.state(account_id) == (PullState.READY, "")


def test_a_token_stands_sealed_and_an_account_has_one_pull(world: World) -> None:
    account_id = world.connect()
    world.connect()

    def look(tx: Tx) -> tuple[bytes, int]:
        kept = tx.scalar(store.outside_tokens.select().with_only_columns(store.outside_tokens.c.access_token))
        return kept, len(list_requests_of(tx, world.business_id, "ad_pull", [account_id]))

    kept, pulls = world.database.read_now(look)
    assert world.elsewhere.token.encode() not in kept
    assert pulls == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "no number"},
        {"external_id": ""},
        {"access_token": "tök"},
        {"access_token": "two words"},
        {"base_url": "http://10.0.0.1"},
        {"base_url": "https://user:secret@ads.example.com"},
        {"base_url": "https://ads.example.com/path"},
        {"base_url": "ftp://ads.example.com"},
        {"backfill_days": 10_000},
    ],
)
def test_an_account_that_cannot_be_is_refused_and_leaves_nothing(
    world: World, changes: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        world.connect(**changes)
    assert world.database.read_now(lambda tx: store.list_outside_accounts(tx, world.business_id)) == []
