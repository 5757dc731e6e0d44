"""Scores of leads: learned from what became of others, with reasons, as a filter, an order and a column."""

import asyncio
from functools import partial
from pathlib import Path

import msgspec
import pytest

from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.leads.actions.jobs import scoring_study
from contatto.leads.actions.records import change_lead_status
from contatto.leads.engines import Correction, ScoringRequest, ScoringResult
from contatto.leads.model import Lead, LeadModel, LeadScore, LeadStatus, ScoredLead
from contatto.leads.rules.records import (
    BANDS,
    ENOUGH,
    LeadFilter,
    ListLayout,
    ScoreBand,
    read_filter,
    write_filter,
)
from contatto.leads.store import listing
from contatto.leads.store.jobs import find_lead_model, save_lead_model
from contatto.leads.store.listing import list_scores
from contatto.leads.store.records import find_score, save_scores
from tests import make
from tests.journeys.running import running_house
from tests.leads.test_quality import crossed, needs_trees


def test_bands_share_all_scores_and_a_filter_reads_them_back() -> None:
    covered = sorted(score for low, high in BANDS.values() for score in range(low, high + 1))
    assert covered == list(range(101))
    wanted = LeadFilter(scores=(ScoreBand.HIGH, ScoreBand.LOW))
    assert read_filter(write_filter(wanted)) == wanted
    assert read_filter([("score", "none"), ("score", "high")]) == LeadFilter(scores=(ScoreBand.HIGH,))
    assert "score" not in ListLayout().columns


@pytest.fixture
def business_id(database: Database) -> str:
    return str(database.write_now(make.business).id)


def add(database: Database, business_id: str, number: int, field: str, status: LeadStatus | None) -> Lead:
    phone, mail = make.contact(f"+6591234{number:03}"), make.contact(f"p{number}@example.com", Field.EMAIL)

    def work(tx: Tx) -> Lead:
        return make.lead(tx, business_id, phone if field == "phone" else mail, person_id=f"p{number}")

    lead = database.write_now(work)
    if status is not None:
        change_status(database, business_id, lead, status)
    return lead


def change_status(database: Database, business_id: str, lead: Lead, status: LeadStatus) -> None:
    database.write_now(lambda tx: change_lead_status(tx, business_id, lead.id, lead.status, status, "Owner"))


def score_of(database: Database, business_id: str, lead: Lead) -> LeadScore:
    found = database.read_now(lambda tx: find_score(tx, business_id, lead.id))
    assert found is not None
    return found


def scored_all(database: Database) -> int:
    """A round over all businesses, with the process that learns."""
    return asyncio.run(scoring_study().run(database))


def test_leads_are_scored_each_night_and_listed_by_it(database: Database, business_id: str) -> None:
    for number in range(2 * ENOUGH):
        is_good = number % 2 == 0
        status = LeadStatus.QUALIFIED if is_good else LeadStatus.UNQUALIFIED
        add(database, business_id, number, "phone" if is_good else "email", status)
    good = add(database, business_id, 901, "phone", None)
    bad = add(database, business_id, 902, "email", None)
    assert scored_all(database) == 1
    found = database.read_now(lambda tx: list_scores(tx, business_id, {good.id, bad.id}))
    assert found[good.id] > 70 > 30 > found[bad.id]
    scored = database.read_now(lambda tx: find_score(tx, business_id, good.id))
    assert scored is not None
    assert scored.reasons is not None
    assert "+h:phone" in scored.reasons
    model = database.read_now(lambda tx: find_lead_model(tx, business_id))
    assert model is not None
    assert (model.outcomes, model.share) == (2 * ENOUGH, 0.0)
    assert scored_all(database) == 0, "nothing is new"

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


def test_a_new_lead_is_scored_within_the_hour_and_outcomes_correct_the_model(
    database: Database, business_id: str, clock: FixedClock
) -> None:
    for number in range(2 * ENOUGH):
        status = LeadStatus.QUALIFIED if number % 2 else LeadStatus.UNQUALIFIED
        add(database, business_id, number, "phone", status)
    waits = add(database, business_id, 901, "phone", None)
    assert scored_all(database) == 1
    before = score_of(database, business_id, waits)
    learned = database.read_now(lambda tx: find_lead_model(tx, business_id))
    fresh = add(database, business_id, 902, "phone", None)
    change_status(database, business_id, waits, LeadStatus.UNQUALIFIED)
    assert scored_all(database) == 1
    after = score_of(database, business_id, waits)
    assert (before.is_counted, after.is_counted) == (False, True)
    assert (after.log_odds, after.reasons) == (before.log_odds, before.reasons), (
        "said once, by the same model"
    )
    assert score_of(database, business_id, fresh).score <= before.score
    model = database.read_now(lambda tx: find_lead_model(tx, business_id))
    assert learned is not None
    assert model is not None
    assert (model.body, model.learned_at) == (learned.body, learned.learned_at)
    assert model.correction != learned.correction
    assert scored_all(database) == 0
    clock.advance(days=1)
    assert scored_all(database) == 1
    anew = database.read_now(lambda tx: find_lead_model(tx, business_id))
    assert anew is not None
    assert anew.outcomes == model.outcomes + 1


@needs_trees
def test_the_process_that_learns_can_grow_trees() -> None:
    described, came = crossed(4, 300)
    leads = [
        ScoredLead(str(number), tuple(words), numbers, is_good)
        for number, ((words, numbers), is_good) in enumerate(zip(described, came, strict=True))
    ]
    study = scoring_study()
    pool = study.make_pool()
    raw = msgspec.json.encode(ScoringRequest(leads, b"", Correction()))
    try:
        answers = [asyncio.run(pool.run(study.compute, raw)) for _ in range(2)]
    finally:
        pool.close()
    learned = msgspec.json.decode(answers[0], type=ScoringResult).learned
    assert learned is not None
    assert (learned.has_trees, learned.share > 0.0, answers[1] == answers[0]) == (True, True, True)


def test_a_model_that_cannot_be_read_is_learned_anew(database: Database, business_id: str) -> None:
    for number in range(2 * ENOUGH):
        status = LeadStatus.QUALIFIED if number % 2 else LeadStatus.UNQUALIFIED
        add(database, business_id, number, "phone" if number % 2 else "email", status)
    broken = LeadModel(business_id, make.NOON, 1, 0.5, 0.1, msgspec.json.encode(Correction()), b"half a mod")
    database.write_now(partial(save_lead_model, model=broken))
    assert scored_all(database) == 1
    model = database.read_now(lambda tx: find_lead_model(tx, business_id))
    assert model is not None
    assert model.body != broken.body


def test_one_business_teaches_no_other(database: Database, business_id: str) -> None:
    other = str(database.write_now(make.business).id)
    for number in range(2 * ENOUGH):
        status = LeadStatus.QUALIFIED if number % 2 else LeadStatus.UNQUALIFIED
        add(database, business_id, number, "phone", status)
    stranger = add(database, other, 1, "phone", None)
    assert scored_all(database) == 1
    assert database.read_now(lambda tx: find_lead_model(tx, other)) is None
    assert database.read_now(lambda tx: list_scores(tx, other, {stranger.id})) == {}


def test_a_new_score_takes_the_place_of_the_old_one(database: Database, business_id: str) -> None:
    lead_id = add(database, business_id, 1, "phone", None).id
    for score, reasons in ((20, ("+a:x",)), (80, ("-a:x",)), (60, None)):
        kept = LeadScore(lead_id, score, reasons, 0.5, is_counted=False)
        database.write_now(partial(save_scores, business_id=business_id, scores=[kept]))
    assert database.read_now(lambda tx: list_scores(tx, business_id, {lead_id})) == {lead_id: 60}
    assert database.read_now(lambda tx: list_scores(tx, new_id(), {lead_id})) == {}
    found = database.read_now(lambda tx: find_score(tx, business_id, lead_id))
    assert found is not None
    assert found.reasons == ("-a:x",)


def test_a_lead_that_is_gone_meanwhile_gets_no_score(database: Database, business_id: str) -> None:
    lead_id = new_id()
    kept = LeadScore(lead_id, 20, ("+a:x",), 0.5, is_counted=False)
    database.write_now(partial(save_scores, business_id=business_id, scores=[kept]))
    assert database.read_now(lambda tx: list_scores(tx, business_id, {lead_id})) == {}


def test_the_page_of_a_lead_and_the_list_show_its_score_with_reasons(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        house.sign_in()

        def keep(tx: Tx) -> Lead:
            lead = make.lead(tx, house.business_id)
            reasons = ("+h:phone", "-a:x")
            kept = LeadScore(lead.id, 83, reasons, 1.5, is_counted=False)
            save_scores(tx, house.business_id, [kept])
            return lead

        lead = house.context.db.write_now(keep)
        page = house.client.get(f"/leads/{lead.id}").text
        assert "Score: 83 of 100" in page
        assert "Kinds of contact details: raises the score" in page
        assert "The ad: lowers the score" in page
        listed = house.client.get("/leads?score=high&column=score&sort=-score").text
        assert '<td data-label="Score">83</td>' in listed
        assert "High score" in listed
        assert lead.id not in house.client.get("/leads/rows?score=low").text
