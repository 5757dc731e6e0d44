"""What placements earned: counted beside what was charged there, taken back for spam, told by the report."""

from dataclasses import replace

import pytest

from contatto.delivery.actions import ledger
from contatto.delivery.rules import ServedAd
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.leads.model import LeadCaptured
from contatto.measurement import actions as measurement
from contatto.measurement.actions import NewConversion
from contatto.measurement.model import ConversionKind
from contatto.operators import store as operators_store
from contatto.operators.model import PlacedDay
from contatto.reports.actions.reports import make_report
from contatto.reports.model import Counts, DayRange, Level, TimeStep
from contatto.reports.rules.figures import ReportSpec
from tests.operators.marketplace import Marketplace, add_marketplace


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Marketplace:
    return add_marketplace(database, clock)


def talk(market: Marketplace, served: ServedAd) -> tuple[str, str]:
    """See and tap an ad, write, and leave contact details; the business and the chat come back."""
    market.see(served)
    business_id, person = market.worlds[market.owner_of(served)].id, market.tap(served)
    subject, lead = new_id(), new_id()

    def work(tx: Tx) -> None:
        chat = NewConversion(business_id, person, ConversionKind.CONVERSATION, subject, micros(tx.now))
        measurement.record_conversions(tx, [chat])
        ledger.learn_conversations(tx, [ConversationStarted(business_id, subject, person)])
        measurement.record_conversions(tx, [replace(chat, kind=ConversionKind.LEAD, subject_id=lead)])
        ledger.learn_leads(tx, [LeadCaptured(business_id, lead, subject, "chat", (), tx.now)])

    market.db.write_now(work)
    return business_id, subject


def placed(market: Marketplace, business: int) -> list[PlacedDay]:
    world = market.worlds[business]
    return market.db.read_now(
        lambda tx: operators_store.list_placed_days_of_account(tx, world.id, world.ad_account.id)
    )


def test_a_placement_tells_what_was_seen_tapped_charged_and_earned_there(market: Marketplace) -> None:
    served, seen = market.ask(2)
    talk(market, served)
    market.see(seen)
    days = [day for business in (0, 1) for day in placed(market, business)]
    assert sum(day.views for day in days) == 2
    (earning,) = [day for day in days if day.conversations]
    assert (earning.placement_id, earning.conversations, earning.leads) == (market.placement.id, 1, 1)
    assert earning.clicks == 1
    before = [market.totals(business) for business in (0, 1)]
    assert before == [(charged, charged, charged, charged) for charged, *_ in before]


def test_a_chat_that_is_spam_earned_nothing(market: Marketplace) -> None:
    (served,) = market.ask(1)
    business_id, chat = talk(market, served)
    spam = ConversationMarkedSpam(business_id, chat)
    market.db.write_now(lambda tx: ledger.learn_spam(tx, spam))
    (day,) = placed(market, market.owner_of(served))
    assert (day.conversations, day.leads) == (0, 1)


@pytest.mark.parametrize("level", [Level.AD_ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP])
def test_the_report_has_a_row_for_each_placement(market: Marketplace, level: Level) -> None:
    (served,) = market.ask(1)
    talk(market, served)
    world = market.worlds[market.owner_of(served)]
    (day,) = placed(market, market.owner_of(served))

    def work(tx: Tx) -> list[tuple[str, str | None, Counts]]:
        asked = ReportSpec(DayRange(day.day, day.day), level, step=TimeStep.DAY, by_placement=True)
        report = make_report(tx, world.ad_account, asked)
        return [(row.placement, row.day, row.figures.counts) for row in report.rows]

    counts = Counts(day.charged_micros, 1, 1, 1, 1)
    assert market.db.read_now(work) == [(market.placement.id, day.day, counts)]
