"""Why an ad was shown, why another was not, phases and balances: through the API and the page."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.ads.actions.edits import name_ads
from contatto.ads.model import AdGroup, NodeFilter, Page
from contatto.ads.store import list_ads, list_nodes
from contatto.delivery.actions.serving import AdServer
from contatto.delivery.actions.training import Trainer
from contatto.delivery.pages import factor_text
from contatto.delivery.rules import BUCKETS, OURS, TrialDay
from contatto.delivery.store import COUNTS, save_influences, save_tallies, trials
from contatto.kit.db.statements import add_counts
from contatto.kit.db.tx import Tx, row_of
from contatto.leads.model import HeldOut, LeadModel, ReasonGroup
from contatto.leads.store.jobs import save_lead_model
from contatto.learning.evaluation import count_outcome, count_prediction
from contatto.learning.model import Bin, Influence, InfluenceSource, PredictionTally, Question, ValueOdds
from contatto.measurement.model import Goal
from tests.journeys.running import House, flush_decisions, running_house

ASKED = {"viewer_id": "reader", "country": "SG", "consent": True, "language": "en", "age": 31}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house"), worker="separate") as running:
        running.make_ad("CONVERSATION")
        yield running


def decide(house: House, **changes: Any) -> Any:
    headers = {"Access-Token": house.token}
    ad = house.client.post("/delivery/decide", headers=headers, json=ASKED | changes).json()["ad"]
    flush_decisions(house.client)
    return ad


def learn(house: House) -> None:
    trainer, db = Trainer(14, is_hasty=True), house.context.db
    trainer.start_over()
    while (keep := db.read_now(trainer.read_next)) is not None:
        db.write_now(keep)


def test_why_an_ad_was_shown_is_told_with_its_chances_and_what_was_known(house: House) -> None:
    ad = decide(house, features={"follows": ["tea"]})
    why = house.data("GET", "/contatto/delivery/decision/get/", decision_id=ad["decision_id"])
    assert (why["ad_id"], why["verdict"], why["is_reproduced"]) == (ad["ad_id"], "shown", True)
    assert why["price"] >= why["floor"] == 1.0
    assert 0.0 < why["p_click"] < 1.0
    assert {each["feature"] for each in why["features"]} == {"language", "age", "follows"}


def test_why_an_ad_was_not_shown_is_told_by_its_hurdle_or_its_offer(house: House) -> None:
    first = decide(house, viewer_id="before")
    other = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    path = "/contatto/delivery/decision/get/"
    late = house.data("GET", path, decision_id=first["decision_id"], ad_id=other["ad_id"])
    assert late["verdict"] == "not_live"
    client: Any = house.client
    server = client.app.state.resources[AdServer]
    client.portal.call(server.live_ads.refresh, house.business_id)
    shown = decide(house, viewer_id="after", channel_account_id=house.webchat_id)
    why = house.data("GET", path, decision_id=shown["decision_id"], ad_id=other["ad_id"])
    assert (why["verdict"], why["reason"], why["p_click"]) == ("left_out", "channel", None)


def test_a_frequency_cap_that_kept_an_ad_away_is_named_in_words(tmp_path: Path) -> None:
    cap = {"frequency": 1, "frequency_schedule": 7, "adgroup_name": "Rare & <fine>"}
    with running_house(tmp_path, worker="separate") as house:
        capped = house.make_ad("CONVERSATION")
        house.data("POST", "/adgroup/update/", adgroup_id=capped["adgroup_id"], **cap)
        house.make_ad("CONVERSATION")
        shown = [decide(house, viewer_id="often here") for _ in range(12)]
        assert [ad["ad_id"] for ad in shown].count(capped["ad_id"]) == 1
        last = {"decision_id": shown[-1]["decision_id"], "ad_id": capped["ad_id"]}
        why = house.data("GET", "/contatto/delivery/decision/get/", **last)
        assert (why["verdict"], why["reason"]) == ("left_out", "frequency")
        house.sign_in()
        page = house.client.get(f"/ads/delivery?decision={last['decision_id']}").text
        assert "as often as their frequency cap allows: <bdi>Rare &amp; &lt;fine&gt;</bdi>" in page


def test_an_unknown_decision_is_not_found(house: House) -> None:
    assert house.api("GET", "/contatto/delivery/decision/get/", decision_id="123")["code"] != 0


def test_each_ad_group_tells_how_far_it_has_learned(house: House) -> None:
    ad = decide(house, viewer_id="sees it")
    house.client.get(ad["view_url"])
    learn(house)
    found = house.data("GET", "/contatto/delivery/status/get/")["list"]
    assert {each["phase"] for each in found} == {"learning"}
    assert sum(each["impressions"] for each in found) == 1


def test_what_learning_brings_is_told_for_each_campaign(house: House) -> None:
    path = "/contatto/delivery/lift/get/"
    house.sign_in()
    assert house.data("GET", path)["list"] == []

    def count(tx: Tx, leads: int) -> None:
        (account,) = list_ad_accounts(tx, BusinessId(house.business_id))
        wanted = NodeFilter(goals=frozenset({Goal.CONVERSATION}))
        (group,) = list_nodes(tx, AdGroup, house.business_id, account.id, wanted, Page())
        rows = [
            TrialDay(house.business_id, group.id, tx.now.date().isoformat(), way * bucket, 9, 1, 10**6, came)
            for way, came in ((1, 2 * leads), (-1, leads))
            for bucket in range(1, BUCKETS + 1)
        ]
        add_counts(tx, trials, COUNTS, map(row_of, rows))

    house.context.db.write_now(lambda tx: count(tx, 0))
    (row,) = house.data("GET", path)["list"]
    assert (row["lift"], row["missing_by_lot"], row["missing_learned"]) == (None, 20, 20)
    assert "20 more conversions of randomly chosen ads are needed" in house.client.get("/ads/delivery").text
    house.context.db.write_now(lambda tx: count(tx, 3))
    (row,) = house.data("GET", path)["list"]
    assert row["lift"] == pytest.approx(1.0)
    assert row["low"] < 1.0 < row["high"]
    assert row["by_lot"]["cost_per_conversion"] == 2 * row["learned"]["cost_per_conversion"]
    page = house.client.get("/ads/delivery").text
    assert "<strong>100% more</strong>" in page
    assert "How it is measured" in page
    assert "Expected results" in page


def test_what_a_budget_brings_is_told_as_a_range(house: House) -> None:
    made = house.make_ad("CONVERSATION")
    path = "/contatto/delivery/expected/get/"
    found = house.data("GET", path, adgroup_id=made["adgroup_id"], budget=50)
    assert (found["goal"], found["low"], found["high"]) == ("conversation", None, None)
    assert house.api("GET", path, adgroup_id="123", budget=50)["code"] != 0


def test_a_balance_loses_what_reports_show(house: House) -> None:
    ad = decide(house, viewer_id="balance")
    house.client.get(ad["view_url"])
    (balance,) = house.data("GET", "/advertiser/balance/get/")["list"]
    spend = sum(float(row["spend"]) for row in house.report(metrics=["spend"]).values())
    assert balance["mode"] == "OPEN"
    assert balance["charged"] == pytest.approx(spend)
    assert balance["balance"] == pytest.approx(-spend)


def test_the_page_shows_phases_decisions_and_why(house: House) -> None:
    ad = decide(house, viewer_id="page")
    house.sign_in()
    page = house.client.get("/ads/delivery", params={"decision": ad["decision_id"]})
    assert page.status_code == 200
    for words in ("Ad delivery", "Why this ad", "Learning", "Ad of CONVERSATION"):
        assert words in page.text
    statement = house.client.get("/ads/statement.csv")
    head, *lines = statement.text.splitlines()
    assert head.endswith("amount,balance,marketplace,placement")
    assert all("CONVERSATION group" in line or "LEAD_GENERATION group" in line for line in lines)


def test_factors_of_a_decision_have_names_that_people_read() -> None:
    assert str(factor_text(f"{OURS}account")) == "Channel account"
    assert str(factor_text("country")) == "Country"
    assert str(factor_text("follows")) == "Publisher field “follows”"


def test_ads_of_one_name_are_told_apart_by_their_ad_groups_else_by_their_numbers(tmp_path: Path) -> None:
    with running_house(tmp_path, worker="separate") as house:

        def names() -> dict[str, str]:
            def load(tx: Tx) -> dict[int, str]:
                shared = ["Ad of CONVERSATION", "Ad of LEAD_GENERATION"]
                return name_ads(tx, house.business_id, list_ads(tx, house.business_id, name=shared))

            return {str(number): name for number, name in house.context.db.read_now(load).items()}

        house.make_ad("LEAD_GENERATION")
        ad_ids = [house.make_ad("CONVERSATION")["ad_id"] for _ in range(2)]
        assert "Ad of LEAD_GENERATION" in names().values()
        assert [names()[ad_id] for ad_id in ad_ids] == [
            f"Ad of CONVERSATION · CONVERSATION group · {ad_id}" for ad_id in ad_ids
        ]
        group = house.data("GET", "/ad/get/", filtering={"ad_ids": ad_ids[:1]})["list"][0]["adgroup_id"]
        house.data("POST", "/adgroup/update/", adgroup_id=group, adgroup_name="Another group")
        assert names()[ad_ids[0]] == "Ad of CONVERSATION · Another group"


def test_the_page_of_the_model_shows_what_was_foretold_and_came_and_what_it_goes_by(house: House) -> None:
    house.sign_in()
    told = {(p, came) for p in (0.02, 0.2) for came in (True, False)}

    def fill(tx: Tx) -> None:
        (account,) = list_ad_accounts(tx, BusinessId(house.business_id))
        tally = PredictionTally()
        for p, came in sorted(told):
            for _ in range(25):
                count_prediction(tally, p)
                if came:
                    count_outcome(tally, p)
        day = (tx.now - timedelta(days=5)).date().isoformat()
        save_tallies(tx, house.business_id, {(str(account.id), day, Question.LEAD): tally})
        by = Influence(Question.LEAD, InfluenceSource.FIELD, "taste", 1.7)
        values = ValueOdds("tea", 1.9), ValueOdds("AGE_55_100", 0.5)
        likes = Influence(Question.LEAD, InfluenceSource.FIELD, "likes", 1.3, *values)
        save_influences(tx, house.business_id, [by, likes])
        held = HeldOut(
            30,
            0.69,
            (Bin(40, 10, 0.3, 0.25, 0.14, 0.4), Bin(40, 20, 0.5, 0.5, 0.35, 0.65)),
            (ReasonGroup("h", 1.4),),
        )
        scorer = LeadModel(house.business_id, tx.now, 80, 0.25, 0.6, b"{}", b"", held)
        save_lead_model(tx, scorer)

    house.context.db.write_now(fill)
    page = house.client.get("/ads/delivery/model").text
    for words in (
        "Predicted 11, actual 50 of 100.", "More than predicted", "Publisher field “taste”",
        "tea", "55+", "25% by decision trees", "Kinds of contact details", "As predicted",
    ):  # fmt: skip
        assert words in page
    found = house.data("GET", "/contatto/delivery/model/get/")
    curve = found["curves"][-1]
    assert (curve["question"], curve["cases"], curve["came"]) == ("lead", 100, 50)
    assert [each["cases"] for each in curve["bins"]] == [50, 50]
    assert [each["name"] for each in found["influences"]] == ["taste", "likes"]
