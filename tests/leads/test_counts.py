"""Remembered counts by status: after all that happens to leads they are what is counted anew."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contatto.kit.db.database import CachedCounts, Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.annotations import erase_leads, merge_leads, undo_merge
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import Actor, Lead, LeadStatus, Picks
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import count_leads_by_status, list_leads, load_lead_counts
from tests import make
from tests.examples import examples
from tests.leads.test_merging import two


def arrive(tx: Tx, actor: Actor, _: list[Lead], number: int) -> None:
    """A new lead, or one that is there already."""
    make.lead(tx, actor.business_id, make.contact(f"+6591234{number:03d}"), person_id=f"person {number}")


def move(tx: Tx, actor: Actor, ours: list[Lead], number: int) -> None:
    lead, new = ours[number % len(ours)], list(LeadStatus)[number % len(LeadStatus)]
    change_lead_status(tx, actor.business_id, lead.id, lead.status, new, "Owner")


def merge(tx: Tx, actor: Actor, ours: list[Lead], number: int) -> None:
    one, other = ours[number % len(ours)], ours[(number + 1) % len(ours)]
    made = merge_leads(tx, actor, one.id, other.id, Picks(), "the same person")
    if number % 2:
        undo_merge(tx, actor, made.id)


def erase(tx: Tx, actor: Actor, ours: list[Lead], number: int) -> None:
    erase_leads(tx, actor.business_id, [ours[number % len(ours)]], "Owner")


type Step = Callable[[Tx, Actor, list[Lead], int], None]
STEPS: tuple[Step, ...] = (arrive, arrive, move, merge, erase)
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 20)), max_size=12)


@given(taken=steps)
@settings(
    max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_to_leads_their_counts_are_those_that_are_there(
    database: Database, taken: list[tuple[Step, int]]
) -> None:
    actor, *_ = two(database)
    remembered = CachedCounts(database, {"leads", "conversations"}, least=0, per_row=timedelta())

    def check(tx: Tx) -> None:
        counts = load_lead_counts(tx, actor.business_id, remembered.begin())
        assert counts == count_leads_by_status(tx, actor.business_id)

    def take(tx: Tx, step: Step, number: int) -> None:
        if ours := list_leads(tx, actor.business_id, LeadFilter()):
            step(tx, actor, ours, number)

    database.read_now(check)
    for step, number in taken:
        with suppress(Refused):  # not every move is allowed
            database.write_now(lambda tx, of=step, n=number: take(tx, of, n))  # type: ignore[misc]  # of a lambda with defaults
        database.read_now(check)
