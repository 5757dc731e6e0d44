"""Reading an ad account of Meta from a server in memory that speaks its Marketing API, page by page."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from contatto.ad_platforms import actions, store
from contatto.ad_platforms.actions import NewOutsideAccount
from contatto.ad_platforms.model import AdDay, AdPlatform, PullState
from contatto.kit.db.database import Database
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.measurement.model import Goal
from contatto.measurement.store import list_measured_ads
from tests import make
from tests.ad_platforms.counterpart import Counterpart, json_answer, pull

TOKEN = "meta-token"
ROWS: dict[str, list[dict[str, Any]]] = {
    "campaigns": [{"id": "11", "name": "Spring", "effective_status": "ACTIVE"}],
    "adsets": [
        {"id": "21", "name": "Leads", "campaign_id": "11", "optimization_goal": "LEAD_GENERATION"},
        {"id": "22", "name": "Chats", "campaign_id": "11", "optimization_goal": "CONVERSATIONS"},
    ],
    "ads": [
        {"id": "31", "name": "Cat", "adset_id": "21", "effective_status": "ACTIVE"},
        {"id": "32", "name": "Dog", "adset_id": "22", "effective_status": "PAUSED"},
        {"id": "33", "name": "Old", "adset_id": "22", "effective_status": "ARCHIVED"},
    ],
    "insights": [
        {"ad_id": "31", "date_start": "2025-12-30", "spend": "3.75", "impressions": "200", "clicks": "4"},
        {"ad_id": "31", "date_start": "2025-12-31", "spend": "1", "impressions": "90", "clicks": "1"},
        {"ad_id": "32", "date_start": "2025-12-31", "spend": "2.50", "impressions": "80"},
    ],
}


def marketing_api(
    cursor_after: Callable[[int], str], page_size: int = 1
) -> Callable[[HttpRequest], HttpAnswer]:
    """Pages of so many rows; ``cursor_after`` names the cursor behind a row."""

    def answer(request: HttpRequest) -> HttpAnswer:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return json_answer('{"error": {"code": 190, "message": "expired"}}', 400)
        parts = urlsplit(request.url)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        edge = parts.path.removeprefix("/v23.0/act_7001").strip("/")
        if not edge:
            return json_answer('{"name": "Shop", "currency": "EUR", "timezone_name": "Europe/Rome"}')
        days = json.loads(asked.get("time_range", '{"since": "", "until": "9"}'))
        rows = [row for row in ROWS[edge] if days["since"] <= row.get("date_start", "1") <= days["until"]]
        names = [cursor_after(number) for number in range(len(rows))]
        first = names.index(asked["after"]) + 1 if asked.get("after") in names else 0
        shown = rows[first : first + 1]
        paging: dict[str, Any] = {}
        if first + 1 < len(rows):
            paging = {"cursors": {"after": names[first]}, "next": "https://next"}
        return json_answer(json.dumps({"data": shown, "paging": paging}))

    return answer


@pytest.fixture
def business_id(database: Database) -> str:
    return database.write_now(lambda tx: make.business(tx)).id


def connect(db: Database, business_id: str, token: str = TOKEN) -> str:
    new = NewOutsideAccount(
        platform=AdPlatform.META, external_id="act_7001", access_token=token, backfill_days=30
    )
    return db.write_now(lambda tx: actions.connect_outside_account(tx, business_id, new, ()).id)


def state(db: Database, business_id: str, account_id: str) -> tuple[PullState, str]:
    found = db.read_now(lambda tx: actions.load_outside_account(tx, business_id, account_id))
    return found.state, found.reason


def test_a_pull_reads_every_page_of_an_account_of_meta(database: Database, business_id: str) -> None:
    account_id = connect(database, business_id)
    pull(database, Counterpart(marketing_api(str)))
    account = database.read_now(lambda tx: actions.load_outside_account(tx, business_id, account_id))
    assert (account.name, account.currency, account.timezone) == ("Shop", "EUR", "Europe/Rome")
    assert account.state is PullState.READY
    ads = database.read_now(lambda tx: list_measured_ads(tx, business_id)).values()
    shown = {ad.ad_number: (ad.ad_name, ad.ad_group_name, ad.campaign_name, ad.goal) for ad in ads}
    assert shown == {
        31: ("Cat", "Leads", "Spring", Goal.LEAD),
        32: ("Dog", "Chats", "Spring", Goal.CONVERSATION),
        33: ("Old", "Chats", "Spring", Goal.CONVERSATION),
    }
    days = database.read_now(lambda tx: store.list_ad_days(tx, account, ("2025-01-01", "2026-12-31")))
    assert days == [
        AdDay(31, "2025-12-30", 3_750_000, 200, 4),
        AdDay(31, "2025-12-31", 1_000_000, 90, 1),
        AdDay(32, "2025-12-31", 2_500_000, 80, 0),
    ]


@pytest.mark.parametrize("circle", [1, 2])
def test_cursors_of_meta_that_come_back_end_the_pull(
    database: Database, business_id: str, circle: int
) -> None:
    account_id = connect(database, business_id)

    def endless(request: HttpRequest) -> HttpAnswer:
        found = marketing_api(str)(request)
        said = json.loads(found.body)
        if "data" in said:
            after = parse_qs(urlsplit(request.url).query).get("after", ["0"])[0]
            following = str((int(after.removeprefix("c") or 0) + 1) % circle)
            said["paging"] = {"cursors": {"after": f"c{following}"}, "next": "https://next"}
        return json_answer(json.dumps(said))

    pull(database, other := Counterpart(endless))
    assert state(database, business_id, account_id) == (PullState.RETRYING, "repeated_cursor")
    assert len(other.asked) < 10


def test_a_token_of_meta_that_has_expired_stops_the_pull(database: Database, business_id: str) -> None:
    account_id = connect(database, business_id, "an-old-token")
    pull(database, Counterpart(marketing_api(str)))
    assert state(database, business_id, account_id) == (PullState.STOPPED, "token_refused")
