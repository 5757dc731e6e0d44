"""Several leads become one at once, or none of them does, and one undo takes all of it back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.accounts.model import Role
from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.annotations import label_lead
from contatto.leads.actions.jobs import merge_many_leads, undo_job
from contatto.leads.actions.records import delete_lead
from contatto.leads.model import Actor, Lead, LeadJob
from contatto.leads.store import listing
from contatto.leads.store.jobs import find_job
from contatto.leads.store.listing import count_leads_by_status
from tests import make
from tests.background import work_off
from tests.journeys.running import House, csrf_of, running_house
from tests.leads.test_center_pages import a_lead, sign_in_as
from tests.leads.test_merging import tables, two


def five(db: Database) -> tuple[Actor, list[Lead]]:
    """Two leads with work on them, and three more that share details with them and with each other."""
    actor, one, other = two(db)

    def build(tx: Tx) -> list[Lead]:
        mail = make.contact("five@example.com", Field.EMAIL)
        more = [
            make.lead(tx, actor.business_id, mail, *phones, person_id=f"more{n}", profile_name=f"M{n}")
            for n, phones in enumerate(([make.contact()], [make.contact("+6590000002")], []))
        ]
        label_lead(tx, actor, more[1].id, "both")
        return more

    return actor, [one, other, *db.write_now(build)]


def join(db: Database, actor: Actor, kept: Lead, found: list[Lead]) -> LeadJob:
    ids = [lead.id for lead in found]
    return db.write_now(lambda tx: merge_many_leads(tx, actor, kept.id, ids, "one person"))


@pytest.mark.parametrize("place", [0, 1, 4])
def test_five_become_the_chosen_one_and_one_undo_leaves_every_row_as_it_was(
    database: Database, place: int
) -> None:
    actor, found = five(database)
    work_off(database)
    before = tables(database)
    kept = found[place]
    job = join(database, actor, kept, found)
    counts = database.read_now(lambda tx: count_leads_by_status(tx, actor.business_id))
    assert sum(counts.values()) == 1
    points = database.read_now(lambda tx: listing.list_contact_points(tx, actor.business_id, {kept.id}))
    values = sorted(point.value for point in points[kept.id])
    assert values == ["+6590000002", "+6591234567", "five@example.com", "mei@example.com"]
    undo = database.write_now(lambda tx: undo_job(tx, actor, job.id))
    work_off(database)
    done = database.read_now(lambda tx: find_job(tx, actor.business_id, undo.id))
    assert done is not None
    assert (done.done, done.skipped) == (4, 0)
    assert tables(database) == before


def test_if_one_cannot_be_merged_none_is(database: Database) -> None:
    actor, found = five(database)
    database.write_now(lambda tx: delete_lead(tx, found[3], "Owner"))
    before = tables(database)
    with pytest.raises(Refused, match="merged or deleted"):
        join(database, actor, found[0], found)
    assert tables(database) == before


def test_two_to_twenty_are_merged_and_one_of_them_stays(database: Database) -> None:
    actor, found = five(database)
    before = tables(database)
    for kept, chosen in ((found[0], found[:1]), (found[0], found[1:])):
        with pytest.raises(Refused, match="2 to"):
            join(database, actor, kept, chosen)
    ids = [found[0].id, *(f"id{n}" for n in range(20))]
    with pytest.raises(Refused, match="2 to"):
        database.write_now(lambda tx: merge_many_leads(tx, actor, found[0].id, ids, ""))
    assert tables(database) == before


def test_leads_of_another_business_are_not_merged(database: Database) -> None:
    actor, found = five(database)
    foreign = database.write_now(lambda tx: make.lead(tx, make.business(tx, "Elsewhere").id, person_id="f"))
    before = tables(database)
    with pytest.raises(Refused):
        join(database, actor, found[0], [found[0], foreign])
    assert tables(database) == before


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def test_the_page_asks_which_one_stays_and_the_list_offers_the_undo(house: House) -> None:
    ids = [a_lead(house, person_id=f"p{n}", profile_name=f"Mei {n}") for n in range(3)]
    token = csrf_of(house.client.get("/leads").text)
    form = {"csrf_token": token, "ids": ids}
    page = house.client.post("/leads/merge/ask", data=form).text
    assert "Merge 3 leads" in page
    assert all(lead_id in page for lead_id in ids)
    answer = house.client.post("/leads/merge", data=form | {"keep": ids[1]}, follow_redirects=False)
    assert answer.headers["location"] == f"/leads/{ids[1]}"
    assert 'data-total="1"' in house.client.get("/leads").text
    jobs_page = house.client.get("/leads/jobs").text
    assert "Merge leads" in jobs_page
    assert "/undo" in jobs_page


def test_who_may_not_change_leads_may_not_merge_them(house: House) -> None:
    ids = [a_lead(house, person_id=f"p{n}") for n in range(2)]
    sign_in_as(house, Role.ANALYST)
    token = csrf_of(house.client.get("/settings").text)
    for path in ("/leads/merge/ask", "/leads/merge"):
        form = {"csrf_token": token, "ids": ids, "keep": ids[0]}
        assert house.client.post(path, data=form).status_code == 403
    found = house.context.db.read_now(lambda tx: listing.list_leads_by_id(tx, house.business_id, set(ids)))
    assert sorted(lead.id for lead in found.values()) == sorted(ids)
