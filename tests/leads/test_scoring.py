"""Scores of leads: learned from what became of others, with reasons, as a filter, an order and a column."""

import random
from functools import partial
from pathlib import Path

import pytest

from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.actions.scoring import LeadScorer
from contatto.leads.actions.statuses import change_lead_status
from contatto.leads.model.leads import Lead, LeadStatus
from contatto.leads.model.scores import LeadScore, ScoredLead
from contatto.leads.rules.filters import LeadFilter, Look, read_filter, write_filter
from contatto.leads.rules.scoring import BANDS, ENOUGH, ScoreBand, explain_reasons, score_leads
from contatto.leads.store import listing, scores
from tests import make
from tests.journeys.running import running_house


def played(chance: random.Random, count: int) -> list[ScoredLead]:
    """Leads of two ads, of which one brings good ones, by a form that tells nothing."""
    found = []
    for number in range(count):
        ad, form = chance.choice("xy"), chance.choice(("f:1", "f:2"))
        is_good = chance.random() < (0.8 if ad == "x" else 0.2)
        found.append(ScoredLead(str(number), (f"a:{ad}", form, "o:chat"), is_good))
    return found


def test_what_brings_good_leads_is_found_and_told() -> None:
    known = played(random.Random(3), 400)  # noqa: S311 — seeded
    asked = [ScoredLead(f"new {ad}", (f"a:{ad}", "f:1", "o:chat"), None) for ad in "xy"]
    found = score_leads([*known, *asked])
    good, bad = found["new x"], found["new y"]
    assert 70 <= good[0] <= 90
    assert 10 <= bad[0] <= 30
    assert (good[1][0], bad[1][0]) == ("+a:x", "-a:y")
    assert explain_reasons(good[1])[0] == (True, "The ad")
    assert all(len(reasons) <= 3 for _, reasons in found.values())
    assert score_leads([*known, *asked]) == found


def test_with_too_few_outcomes_nobody_is_scored() -> None:
    some = [ScoredLead(str(number), ("o:chat",), number < ENOUGH) for number in range(2 * ENOUGH - 1)]
    assert score_leads(some) == {}
    assert score_leads([]) == {}
    assert score_leads([*some, ScoredLead("one more", ("o:chat",), None)]) == {}
    assert set(score_leads([*some, ScoredLead("one more", ("o:chat",), False)])) == {
        *(each.lead_id for each in some), "one more"
    }  # fmt: skip


def test_bands_share_all_scores_and_a_filter_reads_them_back() -> None:
    covered = sorted(score for low, high in BANDS.values() for score in range(low, high + 1))
    assert covered == list(range(101))
    wanted = LeadFilter(scores=(ScoreBand.HIGH, ScoreBand.LOW))
    assert read_filter(write_filter(wanted)) == wanted
    assert read_filter([("score", "none"), ("score", "high")]) == LeadFilter(scores=(ScoreBand.HIGH,))
    assert "score" not in Look().columns


@pytest.fixture
def business_id(database: Database) -> str:
    return str(database.write_now(make.business).id)


def add(database: Database, business_id: str, number: int, field: str, status: LeadStatus | None) -> Lead:
    phone, mail = make.contact(f"+6591234{number:03}"), make.contact(f"p{number}@example.com", Field.EMAIL)

    def work(tx: Tx) -> Lead:
        return make.lead(tx, business_id, phone if field == "phone" else mail, person_id=f"p{number}")

    lead = database.write_now(work)
    if status is not None:
        database.write_now(
            lambda tx: change_lead_status(tx, business_id, lead.id, lead.status, status, "Owner")
        )
    return lead


def test_leads_are_scored_each_night_and_listed_by_it(database: Database, business_id: str) -> None:
    for number in range(2 * ENOUGH):
        is_good = number % 2 == 0
        status = LeadStatus.QUALIFIED if is_good else LeadStatus.UNQUALIFIED
        add(database, business_id, number, "phone" if is_good else "email", status)
    good = add(database, business_id, 901, "phone", None)
    bad = add(database, business_id, 902, "email", None)
    scorer = LeadScorer()
    scorer.start_over()
    keep = database.read_now(scorer.read_next)
    assert keep is not None
    database.write_now(keep)
    assert database.read_now(scorer.read_next) is None
    found = database.read_now(lambda tx: scores.list_scores(tx, business_id, {good.id, bad.id}))
    assert found[good.id] > 70 > 30 > found[bad.id]
    scored = database.read_now(lambda tx: scores.find_score(tx, business_id, good.id))
    assert scored is not None
    assert "+h:phone" in scored.reasons

    def listed(wanted: LeadFilter, sort: str) -> list[str]:
        page = database.read_now(lambda tx: listing.list_leads(tx, business_id, wanted, sort))
        return [lead.id for lead in page]

    assert good.id in listed(LeadFilter(scores=(ScoreBand.HIGH,)), "-score")
    assert bad.id not in listed(LeadFilter(scores=(ScoreBand.HIGH,)), "-score")
    assert listed(LeadFilter(), "-score") == listed(LeadFilter(), "score")[::-1]
    raw = LeadFilter(statuses=(LeadStatus.RAW,))
    assert listed(raw, "-score") == [good.id, bad.id]
    matches = database.read_now(lambda tx: listing.find_matches(tx, business_id, raw))
    page = database.read_now(lambda tx: listing.list_matches(tx, business_id, raw, matches, ("score", 50, 0)))
    assert [lead.id for lead in page] == [bad.id, good.id]


def test_a_new_score_takes_the_place_of_the_old_one(database: Database, business_id: str) -> None:
    lead_id = new_id()
    for score in (20, 80):
        kept = LeadScore(business_id, lead_id, score, ("+a:x",), make.NOON)
        database.write_now(partial(scores.save_scores, scores=[kept]))
    assert database.read_now(lambda tx: scores.list_scores(tx, business_id, {lead_id})) == {lead_id: 80}
    assert database.read_now(lambda tx: scores.list_scores(tx, new_id(), {lead_id})) == {}


def test_the_page_of_a_lead_and_the_list_show_its_score_with_reasons(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        house.sign_in()

        def keep(tx: Tx) -> Lead:
            lead = make.lead(tx, house.business_id)
            reasons = ("+h:phone", "-a:x")
            scores.save_scores(tx, [LeadScore(house.business_id, lead.id, 83, reasons, tx.now)])
            return lead

        lead = house.context.db.write_now(keep)
        page = house.client.get(f"/leads/{lead.id}").text
        assert "Score: 83 of 100" in page
        assert "How the person can be reached: speaks for it" in page
        assert "The ad: speaks against it" in page
        listed = house.client.get("/leads?score=high&column=score&sort=-score").text
        assert '<td data-label="Score">83</td>' in listed
        assert "High score" in listed
        assert lead.id not in house.client.get("/leads/rows?score=low").text
