"""Bulk actions: in steps that survive a restart, with the exact numbers, and undone as it was done."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, in_time
from contatto.kit.errors import Refused
from contatto.kit.i18n import read_lazy_text
from contatto.kit.outbox import events
from contatto.leads.actions import jobs
from contatto.leads.actions.jobs import foresee_import, plan_import
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import Actor, JobKind, JobPlan, LeadJob, LeadJobMoved, LeadJobState, LeadStatus
from contatto.leads.rules.importing import read_columns, read_sheet
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.leads.store.jobs import find_job, list_items_with_reason, list_jobs
from contatto.leads.store.listing import list_contact_points, list_labels_of
from contatto.leads.store.tables import lead_job_items, lead_jobs
from tests import make
from tests.background import work_off
from tests.quoting import quotes


@pytest.fixture
def actor(database: Database) -> Actor:
    def build(tx: Tx) -> Actor:
        business = make.business(tx)
        return Actor(business.id, make.member(tx, business.id).id, "Owner")

    return database.write_now(build)


def many(db: Database, actor: Actor, count: int) -> list[str]:
    def build(tx: Tx) -> list[str]:
        return [
            make.lead(tx, actor.business_id, make.contact(f"+65912{n:05}"), person_id=f"p{n}").id
            for n in range(count)
        ]

    return db.write_now(build)


def look(db: Database, job: LeadJob) -> LeadJob:
    found = db.read_now(lambda tx: find_job(tx, job.business_id, job.id))
    assert found
    return found


def counts(db: Database, actor: Actor) -> dict[LeadStatus, int]:
    return db.read_now(lambda tx: listing.count_leads_by_status(tx, actor.business_id))


def start(db: Database, actor: Actor, kind: JobKind, plan: JobPlan) -> LeadJob:
    return db.write_now(lambda tx: jobs.start_job(tx, actor, kind, plan))


def test_all_that_match_are_changed_in_steps_and_undone_again(database: Database, actor: Actor) -> None:
    ids = many(database, actor, 250)
    database.write_now(
        lambda tx: change_lead_status(
            tx, actor.business_id, ids[7], LeadStatus.RAW, LeadStatus.CONTACTED, "Owner"
        )
    )
    job = start(database, actor, JobKind.STATUS, JobPlan("qualified", query="status=raw"))
    assert job.total == 249
    assert work_off(database, rounds=1) == 1
    half = look(database, job)
    assert half.state is LeadJobState.RUNNING
    assert 0 < half.done < 249
    late = many(database, actor, 1)  # the same person again: no new lead
    assert late == [ids[0]]
    work_off(database)  # as after a restart: all that is left stands in the tables
    ended = look(database, job)
    assert (ended.state, ended.done, ended.skipped) == (LeadJobState.DONE, 249, 0)
    assert counts(database, actor) == {LeadStatus.QUALIFIED: 249, LeadStatus.CONTACTED: 1}

    database.write_now(
        lambda tx: change_lead_status(
            tx, actor.business_id, ids[0], LeadStatus.QUALIFIED, LeadStatus.CONVERTED, "Agent"
        )
    )
    undo = database.write_now(lambda tx: jobs.undo_job(tx, actor, job.id))
    work_off(database)
    taken_back = look(database, undo)
    assert (taken_back.done, taken_back.skipped) == (248, 1)
    assert counts(database, actor) == {LeadStatus.RAW: 248, LeadStatus.CONTACTED: 1, LeadStatus.CONVERTED: 1}
    [left] = database.read_now(lambda tx: list_items_with_reason(tx, actor.business_id, undo.id))
    assert (left.lead_id, left.reason) == (ids[0], str(jobs.SKIPPED_FIRST))
    with pytest.raises(Refused, match="cannot be undone"):
        database.write_now(lambda tx: jobs.undo_job(tx, actor, job.id))


def test_a_lead_that_comes_while_a_job_runs_is_left_alone(database: Database, actor: Actor) -> None:
    many(database, actor, 3)
    job = start(database, actor, JobKind.STATUS, JobPlan("contacted"))
    newcomer = database.write_now(lambda tx: make.lead(tx, actor.business_id, person_id="newcomer"))
    work_off(database)
    assert look(database, job).done == 3
    assert newcomer.id > job.id
    assert counts(database, actor) == {LeadStatus.CONTACTED: 3, LeadStatus.RAW: 1}


@pytest.mark.parametrize("kind", [JobKind.OWNER, JobKind.LABEL, JobKind.DELETE])
def test_each_kind_of_work_on_the_chosen_leads_can_be_undone(
    database: Database, actor: Actor, kind: JobKind
) -> None:
    ids = many(database, actor, 3)
    value = {JobKind.OWNER: actor.member_id, JobKind.LABEL: "vip"}.get(kind, "")
    before = whole(database, actor)
    job = start(database, actor, kind, JobPlan(value, lead_ids=(ids[0], ids[2], ids[0])))
    assert job.total == 2
    work_off(database)
    assert look(database, job).done == 2
    assert whole(database, actor) != before
    database.write_now(lambda tx: jobs.undo_job(tx, actor, job.id))
    work_off(database)
    assert whole(database, actor) == before


def whole(db: Database, actor: Actor) -> Any:
    def read(tx: Tx) -> Any:
        found = listing.list_leads(tx, actor.business_id, LeadFilter())
        labels = list_labels_of(tx, actor.business_id, [lead.id for lead in found])
        return found, labels

    return db.read_now(read)


def test_moves_that_the_table_does_not_have_are_left_out_with_the_reason(
    database: Database, actor: Actor
) -> None:
    [lead_id] = many(database, actor, 1)
    database.write_now(
        lambda tx: change_lead_status(
            tx, actor.business_id, lead_id, LeadStatus.RAW, LeadStatus.CONVERTED, "Owner"
        )
    )
    job = start(database, actor, JobKind.STATUS, JobPlan("contacted", lead_ids=(lead_id, "no such lead")))
    work_off(database)
    assert (look(database, job).done, look(database, job).skipped) == (0, 2)
    reasons = [
        str(read_lazy_text(item.reason))
        for item in database.read_now(lambda tx: list_items_with_reason(tx, actor.business_id, job.id))
    ]
    assert "A lead cannot change from Converted to Contacted." in reasons
    assert "This lead no longer exists." in reasons


def test_no_contact_value_stands_in_the_tables_of_jobs_or_in_events(database: Database, actor: Actor) -> None:
    many(database, actor, 2)
    start(database, actor, JobKind.STATUS, JobPlan("contacted", query="q=%2B6591200001"))
    sheet = read_sheet("name,phone\nMei,+65 9120 0001\nBob,hello 91234567\n")
    start(database, actor, JobKind.IMPORT, plan_import(sheet, "SG"))
    work_off(database)
    rows = database.read_now(
        lambda tx: [tx.execute(select(t)).all() for t in (lead_jobs, lead_job_items, events)]
    )
    assert not quotes(str(rows), "91200001")
    assert not quotes(str(rows), "91234567")


def test_another_business_cannot_see_or_undo_a_job(database: Database, actor: Actor) -> None:
    ids = many(database, actor, 1)
    job = start(database, actor, JobKind.DELETE, JobPlan(lead_ids=tuple(ids)))
    work_off(database)
    stranger = Actor("other", "m", "Stranger")
    with pytest.raises(Refused, match="Task not found"):
        database.write_now(lambda tx: jobs.undo_job(tx, stranger, job.id))
    foreign = start(database, stranger, JobKind.STATUS, JobPlan("contacted", lead_ids=tuple(ids)))
    work_off(database)
    assert look(database, foreign).done == 0


def test_an_import_does_for_each_row_what_its_preview_said_and_can_be_undone(
    database: Database, actor: Actor
) -> None:
    many(database, actor, 2)  # +6591200000 and +6591200001
    text = (
        "Name;Phone number;E-mail;Tags;Shoe size\n"
        "Mei;9120 0000;mei@Example.com;vip;38\n"
        "Anna;+39 331 2345678;;;\n"
        "Anna again;'+39 331 234 5678;anna@example.com;;\n"
        "Nobody;;;;\n"
        "Wrong;12;;;\n"
        "Both;9120 0000, 9120 0001;;;\n"
    )
    sheet = read_sheet(text)
    preview = database.read_now(lambda tx: foresee_import(tx, actor.business_id, plan_import(sheet, "SG")))
    assert preview.counts == {"create": 1, "update": 2, "skip": 3}
    assert [(row.number, row.does) for row in preview.rows] == [
        (1, "update"), (2, "create"), (3, "update"), (4, "skip"), (5, "skip"), (6, "skip"),
    ]  # fmt: skip
    assert str(preview.rows[2].reason) == "Merged into row 2"
    assert str(preview.rows[5].reason).startswith("This row matches 2 leads")
    before = contact_values(database, actor)

    job = start(database, actor, JobKind.IMPORT, plan_import(sheet, "SG"))
    work_off(database)
    ended = look(database, job)
    assert (ended.done, ended.skipped, ended.total) == (3, 3, 6)
    assert contact_values(database, actor) == {
        "mei": {"+6591200000", "mei@example.com"},
        "Anna": {"+393312345678", "anna@example.com"},
    } | {name: values for name, values in before.items() if name != "mei"}
    reasons = [
        str(read_lazy_text(item.reason))
        for item in database.read_now(lambda tx: list_items_with_reason(tx, actor.business_id, job.id))
    ]
    assert [reason.partition(":")[0] for reason in reasons] == ["Row 4", "Row 5", "Row 6"]

    database.write_now(lambda tx: jobs.undo_job(tx, actor, job.id))
    work_off(database)
    assert contact_values(database, actor) == before


def contact_values(db: Database, actor: Actor) -> dict[str, set[str]]:
    def read(tx: Tx) -> dict[str, set[str]]:
        found = listing.list_leads(tx, actor.business_id, LeadFilter(), "created")
        points = list_contact_points(tx, actor.business_id, {lead.id for lead in found})
        result: dict[str, set[str]] = {}
        for lead in found:
            name = lead.name if lead.name not in result else f"{lead.name} {len(result)}"
            result[name] = {point.value for point in points[lead.id]}
        return result

    return db.read_now(read)


@pytest.mark.parametrize("text", ["", "phone\n", "phone\n" + "1\n" * 20_001, '"phone\n' + "x" * 200_000])
def test_a_file_without_rows_or_with_too_many_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="file: "):
        read_sheet(text)


def test_a_file_of_which_no_column_holds_a_contact_is_not_imported() -> None:
    sheet = read_sheet("name,age\nMei,3\n")
    with pytest.raises(Refused, match="at least one column"):
        read_columns(plan_import(sheet, "SG").columns, 2)


def states(db: Database, jobs_of: list[LeadJob]) -> list[LeadJobState]:
    return [look(db, job).state for job in jobs_of]


def test_so_many_jobs_of_a_business_run_and_the_others_wait_for_them(
    database: Database, actor: Actor
) -> None:
    many(database, actor, 3)
    other = database.write_now(lambda tx: Actor(make.business(tx, "Other").id, "m", "Other"))
    database.write_now(lambda tx: make.lead(tx, other.business_id))
    mine = [start(database, actor, JobKind.LABEL, JobPlan(f"label {number}")) for number in range(4)]
    theirs = start(database, other, JobKind.STATUS, JobPlan("contacted"))
    assert states(database, mine) == [LeadJobState.WAITING] * 4
    assert database.read_now(lambda tx: jobs.has_job_to_start(tx, 2))
    assert database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 2)) == 3
    assert states(database, [*mine, theirs]) == [
        LeadJobState.RUNNING, LeadJobState.RUNNING, LeadJobState.WAITING, LeadJobState.WAITING,
        LeadJobState.RUNNING,
    ]  # fmt: skip
    assert not database.read_now(lambda tx: jobs.has_job_to_start(tx, 2))
    assert database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 2)) == 0
    work_off(database)
    assert states(database, mine) == [LeadJobState.DONE] * 4
    ended = [look(database, job).ended_at for job in mine]
    assert ended == sorted(ended, key=str)


def test_a_job_that_makes_no_step_for_an_hour_holds_no_place(
    database: Database, actor: Actor, clock: FixedClock
) -> None:
    many(database, actor, 1)
    first, second = (start(database, actor, JobKind.LABEL, JobPlan(name)) for name in ("a", "b"))
    assert database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 1)) == 1
    clock.advance(seconds=jobs.STALLED.total_seconds() - 1)
    assert database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 1)) == 0
    clock.advance(seconds=1)
    assert database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 1)) == 1
    assert states(database, [first, second]) == [LeadJobState.RUNNING, LeadJobState.RUNNING]


def test_no_more_jobs_wait_than_a_business_may_have(
    database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_WAITING", 2)
    many(database, actor, 1)
    for _ in range(2):
        start(database, actor, JobKind.LABEL, JobPlan("a"))
    with pytest.raises(Refused, match="2 jobs are already waiting") as refused:
        start(database, actor, JobKind.LABEL, JobPlan("a"))
    assert refused.value.code is errors.CONFLICT
    work_off(database)
    start(database, actor, JobKind.LABEL, JobPlan("b"))


def test_a_job_that_waits_cannot_be_undone(database: Database, actor: Actor) -> None:
    many(database, actor, 1)
    job = start(database, actor, JobKind.LABEL, JobPlan("a"))
    with pytest.raises(Refused, match="cannot be undone"):
        database.write_now(lambda tx: jobs.undo_job(tx, actor, job.id))


@pytest.mark.parametrize("kind", [JobKind.LABEL, JobKind.IMPORT, JobKind.ERASE, JobKind.UNDO])
def test_a_step_ends_when_its_time_is_up_and_the_next_goes_on(
    database: Database, actor: Actor, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = many(database, actor, 5)
    if kind is JobKind.IMPORT:
        rows = "".join(f"+65 9220 000{number}\n" for number in range(5))
        job = start(database, actor, kind, plan_import(read_sheet("phone\n" + rows), "SG"))
    elif kind is JobKind.ERASE:
        job = start(database, actor, kind, JobPlan(lead_ids=tuple(ids)))
    else:
        job = start(database, actor, JobKind.LABEL, JobPlan("vip"))
    if kind is JobKind.UNDO:
        work_off(database)
        labelled = job
        job = database.write_now(lambda tx: jobs.undo_job(tx, actor, labelled.id))
    monkeypatch.setattr(jobs, "in_time", partial(in_time, seconds=0))
    database.write_now(lambda tx: jobs.start_waiting_jobs(tx, 1))
    for done in range(1, 6):
        database.write_now(lambda tx: jobs.continue_job(tx, LeadJobMoved(job.business_id, job.id)))
        assert look(database, job).done == done
    work_off(database)
    ended = look(database, job)
    assert (ended.state, ended.done, ended.skipped) == (LeadJobState.DONE, 5, 0)


def test_the_rows_of_a_file_are_forgotten_once_they_are_imported(database: Database, actor: Actor) -> None:
    job = start(database, actor, JobKind.IMPORT, plan_import(read_sheet("phone\n+65 9120 0001\n"), "SG"))
    assert look(database, job).plan.rows
    work_off(database)
    assert look(database, job).plan.rows == ()


def test_a_list_of_jobs_opens_none_of_their_plans(database: Database, actor: Actor) -> None:
    job = start(database, actor, JobKind.IMPORT, plan_import(read_sheet("phone\n+65 9120 0001\n"), "SG"))
    spoiled = lead_jobs.update().values(plan=b"spoiled")
    database.write_now(lambda tx: tx.execute(spoiled).rowcount)
    [listed] = database.read_now(lambda tx: list_jobs(tx, actor.business_id, job.created_at))
    assert (listed.id, listed.plan) == (job.id, JobPlan("SG"))
