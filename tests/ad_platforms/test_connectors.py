"""Connectors of ad platforms: what they ask, what they read, and that no bytes break them."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from contatto.ad_platforms.actions import CONNECTORS
from contatto.ad_platforms.model import (
    AccountFacts,
    AdDay,
    AdPlatform,
    NodeLevel,
    OutsideNode,
    OutsideStatus,
    Part,
    PullAccess,
    RowPage,
    Walk,
)
from contatto.ad_platforms.rules import follow_cursor
from contatto.channels.model import ChannelApp, Platform
from contatto.kit.outbound.model import Failed, HttpAnswer, NotNow
from tests.house.test_every_connector import HOSTILE, WRONG

ACCESS = PullAccess("https://ads.example.com", "7001", "token-1")
META, TIKTOK = CONNECTORS[AdPlatform.META], CONNECTORS[AdPlatform.TIKTOK]
PLACES = [Walk(part, first="2026-01-01", last="2026-01-30") for part in Part]


def said(value: object, status: int = 200, retry_after: str = "") -> HttpAnswer:
    headers = {"retry-after": retry_after} if retry_after else {}
    return HttpAnswer(status, headers, json.dumps(value).encode())


@pytest.mark.parametrize("platform", list(AdPlatform))
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.part)
def test_the_token_goes_into_a_header_and_into_no_address(platform: AdPlatform, place: Walk) -> None:
    request = CONNECTORS[platform].ask(ACCESS, place)
    assert "token-1" not in request.url
    assert any("token-1" in value for value in request.headers.values())
    assert "token-1" not in repr(request)
    assert request.url.startswith("https://ads.example.com/")


@pytest.mark.parametrize("platform", list(AdPlatform))
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.part)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_hostile_bytes_are_an_outcome(platform: AdPlatform, place: Walk, status: int) -> None:
    for raw in HOSTILE:
        found = CONNECTORS[platform].read(ACCESS, place, HttpAnswer(status, {}, raw))
        assert isinstance(found, NotNow | Failed), raw[:20]


ROWS: dict[AdPlatform, list[tuple[Walk, dict[str, Any]]]] = {
    AdPlatform.TIKTOK: [
        (Walk(Part.ACCOUNT), {"code": 0, "data": {"list": [{"advertiser_id": "7001", "name": "Main"}]}}),
        (Walk(Part.AD_GROUPS), {"code": 0, "data": {"list": [{"adgroup_id": "1", "campaign_id": "2"}],
                                                     "page_info": {"page": 1, "total_page": 1}}}),
        (Walk(Part.SPEND), {"code": 0, "data": {"list": [{
            "dimensions": {"ad_id": "3", "stat_time_day": "2026-01-02 00:00:00"},
            "metrics": {"spend": "1.5", "impressions": "7", "clicks": "2"}}], "page_info": {}}}),
    ],
    AdPlatform.META: [
        (Walk(Part.ACCOUNT), {"account_id": "7001", "name": "Main", "currency": "SGD"}),
        (Walk(Part.AD_GROUPS), {"data": [{"id": "1", "campaign_id": "2", "name": "x"}], "paging": {}}),
        (Walk(Part.SPEND), {"data": [{"ad_id": "3", "date_start": "2026-01-02", "spend": "1.5",
                                       "impressions": "7", "clicks": "2"}]}),
    ],
}  # fmt: skip


def spoiled(value: Any) -> list[Any]:
    """The value with each of its parts in turn replaced by each wrong thing."""
    if isinstance(value, dict):
        return [value | {key: bad} for key in value for bad in [*WRONG, *spoiled(value[key])]]
    if isinstance(value, list):
        return [[bad] for bad in [*WRONG, *spoiled(value[0])]] if value else []
    return list(WRONG)


@pytest.mark.parametrize("platform", list(AdPlatform))
def test_no_wrong_value_anywhere_in_an_answer_breaks_a_connector(platform: AdPlatform) -> None:
    for place, whole in ROWS[platform]:
        for wrong in spoiled(whole):
            text = json.dumps(wrong).encode("utf-8", "surrogatepass")
            found = CONNECTORS[platform].read(ACCESS, place, HttpAnswer(200, {}, text))
            assert isinstance(found, NotNow | Failed | AccountFacts | RowPage)
            if isinstance(found, RowPage):
                assert all(0 < day.ad_number < 1 << 63 and len(day.day) == 10 for day in found.days)


def test_a_row_that_cannot_be_read_is_counted_and_takes_no_other_with_it() -> None:
    good = {"ad_id": "3", "date_start": "2026-01-02", "spend": "1.5", "impressions": "7", "clicks": "2"}
    found = META.read(ACCESS, Walk(Part.SPEND), said({"data": [good, good | {"spend": "a lot"}]}))
    assert found == RowPage((), (AdDay(3, "2026-01-02", 1_500_000, 7, 2),), "", 1)


def test_meta_is_asked_for_figures_by_ad_and_day() -> None:
    request = META.ask(ACCESS, Walk(Part.SPEND, "cursor-2", "2026-01-01", "2026-01-30"))
    asked = parse_qs(urlsplit(request.url).query)
    assert urlsplit(request.url).path == "/v23.0/act_7001/insights"
    assert asked["level"] == ["ad"]
    assert asked["time_increment"] == ["1"]
    assert json.loads(asked["time_range"][0]) == {"since": "2026-01-01", "until": "2026-01-30"}
    assert asked["after"] == ["cursor-2"]


def test_meta_ad_sets_come_with_their_goal_and_the_next_cursor() -> None:
    body = {
        "data": [
            {"id": "11", "name": "Chats", "campaign_id": "5", "optimization_goal": "CONVERSATIONS",
             "effective_status": "PAUSED"},
            {"id": "12", "name": "Leads", "campaign_id": "5", "optimization_goal": "LEAD_GENERATION",
             "effective_status": "DELETED"},
        ],
        "paging": {"cursors": {"after": "next-1"}, "next": "https://graph.facebook.com/next"},
    }  # fmt: skip
    found = META.read(ACCESS, Walk(Part.AD_GROUPS), said(body))
    assert isinstance(found, RowPage)
    assert found.cursor == "next-1"
    assert found.nodes == (
        OutsideNode(NodeLevel.AD_GROUP, 11, 5, "Chats", OutsideStatus.PAUSED, "CONVERSATIONS"),
        OutsideNode(NodeLevel.AD_GROUP, 12, 5, "Leads", OutsideStatus.DELETED, "LEAD_GENERATION"),
    )
    assert [node.goal in META.lead_goals for node in found.nodes] == [False, True]
    assert META.read(ACCESS, Walk(Part.AD_GROUPS, "next-1"), said(body)) == NotNow("repeated_cursor")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (said({"error": {"code": 190}}, 400), Failed("token_refused")),
        (said({"error": {"code": 17}}, 400), NotNow("too_fast")),
        (said({"error": {"code": 80004}}, 400, retry_after="60"), NotNow("too_fast", 60.0)),
        (said({"error": {"code": 2}}, 500), NotNow("platform_away")),
        (said({"error": {"code": 100}}, 400), Failed("platform_100")),
        (said({}, 429, retry_after="5"), NotNow("http_429", 5.0)),
        (said({}, 503), NotNow("http_503")),
        (said({}, 401), Failed("token_refused")),
        (said({}, 404), Failed("http_404")),
        (HttpAnswer(200, {}, b"<html>"), NotNow("not_json")),
    ],
)
def test_what_meta_says_is_wrong(answer: HttpAnswer, outcome: NotNow | Failed) -> None:
    assert META.read(ACCESS, Walk(Part.ADS), answer) == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (said({"code": 40102, "data": {}}), Failed("token_refused")),
        (said({"code": 40105, "data": {}}), Failed("token_refused")),
        (said({"code": 40132}, retry_after="60"), NotNow("too_fast", 60.0)),
        (said({"code": 60001}), NotNow("platform_away")),
        (said({"code": 40002}), Failed("platform_40002")),
        (said({"code": 0}, 500), NotNow("http_500")),
        (said({}, 403), Failed("token_refused")),
        (said({}, 404), Failed("http_404")),
        (HttpAnswer(200, {}, b"<html>"), NotNow("not_json")),
    ],
)
def test_what_tiktok_says_is_wrong(answer: HttpAnswer, outcome: NotNow | Failed) -> None:
    assert TIKTOK.read(ACCESS, Walk(Part.ADS), answer) == outcome


def test_an_account_that_the_token_does_not_reach_is_named_so() -> None:
    others = said({"code": 0, "data": {"list": [{"advertiser_id": "7002", "name": "Another"}]}})
    assert TIKTOK.read(ACCESS, Walk(Part.ACCOUNT), others) == Failed("account_not_shared")


@pytest.mark.parametrize(
    ("platform", "answer"),
    [
        (AdPlatform.TIKTOK, {"code": 0, "data": {"access_token": "fresh", "advertiser_ids": ["7001"]}}),
        (AdPlatform.META, {"access_token": "fresh", "token_type": "bearer", "expires_in": 5_000_000}),
    ],
)
def test_a_code_becomes_a_token_and_the_secret_stays_out_of_addresses(
    platform: AdPlatform, answer: dict[str, Any]
) -> None:
    connector = CONNECTORS[platform]
    request = connector.exchange(
        "https://ads.example.com",
        ChannelApp("app", "business", Platform.TIKTOK, "s3cret"),
        "code-1",
        "https://us/back",
    )
    assert "s3cret" not in request.url
    assert b"s3cret" in request.body
    assert connector.read_token(said(answer)) == "fresh"
    assert connector.read_token(said({"code": 40110, "error": {"code": 100}}, 400)) != "fresh"
    assert isinstance(connector.read_token(HttpAnswer(200, {}, b"{}")), NotNow | Failed)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 50])
def test_cursors_that_go_in_a_circle_of_any_length_are_found(length: int) -> None:
    walk: Walk | None = Walk(Part.ADS)
    for step in range(10 * length + 10):
        assert walk is not None
        walk = follow_cursor(walk, f"page {step % length}")
        if walk is None:
            break
    assert walk is None


def test_cursors_that_lead_on_are_followed() -> None:
    walk: Walk | None = Walk(Part.ADS)
    for step in range(5_000):
        assert walk is not None
        walk = follow_cursor(walk, str(step))
    assert walk is not None
