"""History of the demo: the same for the same seed, learned, and cheaper for the goal that was asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.cli.demo import DAYS, PEOPLE, SEED
from contatto.delivery.actions.results import explain_decision
from contatto.delivery.store import find_stream, list_decisions
from contatto.home.actions import load_ad_figures
from contatto.inbox.store.conversations import count_receipts
from contatto.kit import outbox
from contatto.kit.db.database import Database, open_storage
from contatto.kit.db.tx import FixedClock
from contatto.kit.settings import Settings
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.learning.model import Phase
from contatto.measurement.model import Goal
from contatto.simulator.history import GoalResult, HistoryStage, MadeHistory, make_history
from contatto.simulator.traffic import DAY_S
from contatto.simulator.world import BUDGET_MICROS, TIMEZONE, PlannedVisitor, plan_people
from contatto.wiring import PORTS, install
from tests.schema import copy_schema

STARTS_AT = datetime(2026, 11, 23, 16, tzinfo=UTC)
FEW = 150
"""People of one small day."""


class Played(NamedTuple):
    db: Database
    made: MadeHistory

    @property
    def results(self) -> dict[Goal, GoalResult]:
        return {each.goal: each for each in self.made.results}


def play(folder: Path, seed: int, people: Sequence[PlannedVisitor], days: float) -> Played:
    copy_schema(folder / "contatto.sqlite3")
    clock, settings = FixedClock(STARTS_AT), Settings(data_dir=folder)
    db = open_storage(settings, clock, PORTS)
    until = STARTS_AT + timedelta(days=days)
    return Played(db, make_history(HistoryStage(db, clock, install(settings)), seed, people, until))


@cache
def few_people(seed: int) -> tuple[PlannedVisitor, ...]:
    return tuple(plan_people(seed, FEW, DAY_S))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("history"), 1, few_people(1), 1.0)


def test_the_same_seed_gives_the_same_figures_under_other_keys(small: Played, tmp_path: Path) -> None:
    again = play(tmp_path, 1, few_people(1), 1.0)
    assert again.made.results == small.made.results
    assert again.made.staying == small.made.staying
    again.db.close()


def test_everything_that_came_in_is_settled_and_learned(small: Played) -> None:
    business_id = small.made.world.business_id
    ledger = small.db.read_now(lambda tx: count_receipts(tx, business_id))
    assert ledger.waiting == ledger.refused == 0
    assert ledger.stored > 0
    assert small.db.read_now(outbox.count_waiting) == 0
    stream = small.db.read_now(lambda tx: find_stream(tx, business_id))
    assert stream is not None
    assert stream.published_seq == stream.trained_seq == stream.last_seq


def test_people_who_shared_a_contact_are_leads_of_their_time(small: Played) -> None:
    leads = small.db.read_now(
        lambda tx: list_leads(tx, small.made.world.business_id, LeadFilter(), limit=500)
    )
    assert len(leads) >= sum(each.leads for each in small.made.results) > 0
    assert all(STARTS_AT <= lead.created_at <= STARTS_AT + timedelta(days=1) for lead in leads)


def test_a_decision_of_history_can_be_explained_as_it_was_made(small: Played) -> None:
    business_id = small.made.world.business_id
    decisions = small.db.read_now(lambda tx: list_decisions(tx, business_id, 200))
    assert len(decisions) > 10
    for entry in decisions[::7]:
        explain = partial(explain_decision, business_id=business_id, nonce=entry.nonce)
        explained = small.db.read_now(explain)
        assert explained.explained is not None
        assert explained.explained.is_same


def test_no_budget_is_overspent_and_what_is_charged_is_reported(small: Played) -> None:
    world = small.made.world
    spent = sum(each.spend_micros for each in small.made.results)
    assert 0 < spent <= 4 * BUDGET_MICROS * 1.25
    assert all(each.views and each.chats for each in small.made.results), world.business_name


def test_the_start_page_says_what_the_goal_lead_brought(small: Played) -> None:
    world, now = small.made.world, STARTS_AT + timedelta(days=1)
    midnight = now.astimezone(ZoneInfo(TIMEZONE)).replace(hour=0)
    (account,) = small.db.read_now(lambda tx: list_ad_accounts(tx, BusinessId(world.business_id)))
    figures = small.db.read_now(lambda tx: load_ad_figures(tx, account, midnight))
    lead, talk = figures.by_lead_goal, figures.by_conversation_goal
    assert lead is not None
    assert talk is not None
    assert lead.leads == small.results[Goal.LEAD].leads
    assert lead.cost_micros == round(small.results[Goal.LEAD].spend_micros / lead.leads)
    assert lead.few < lead.leads < lead.many
    assert lead.low_micros < lead.cost_micros < (lead.high_micros or 0)
    assert lead.share_low < lead.share < lead.share_high
    assert talk.leads == small.results[Goal.CONVERSATION].leads


def test_the_history_of_the_demo_shows_what_the_goal_lead_is_for(tmp_path: Path) -> None:
    people = plan_people(SEED, PEOPLE * (DAYS + 1), (DAYS + 1) * DAY_S)
    played = play(tmp_path, SEED, people, DAYS)
    played.db.close()
    lead, talk = played.results[Goal.LEAD], played.results[Goal.CONVERSATION]
    assert min(lead.leads, talk.leads) >= 200
    assert {*lead.phases, *talk.phases} == {Phase.LEARNED}
    assert lead.spend_micros / lead.leads < 0.9 * talk.spend_micros / talk.leads
