"""A small world is played through the real doors, and what the platform then knows is the truth."""

import asyncio
from itertools import takewhile
from pathlib import Path
from random import Random

from sqlalchemy import func, select

from contatto.delivery.store.ledger import charged_days
from contatto.forms.model import FormVerdict
from contatto.forms.store.records import count_answers, list_answers
from contatto.inbox.actions.threads import conversation_id_of, person_id_of
from contatto.inbox.store.conversations import ConversationFilter, count_conversations
from contatto.kit.db.tx import Tx
from contatto.leads.store.records import find_lead_of_person, list_contact_points
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution, list_measured_ads
from contatto.simulator.people import plan_people
from contatto.simulator.run import live_visitors, play_history
from contatto.simulator.traffic import Truth
from contatto.simulator.world import BUDGET_MICROS
from tests.simulator.running import Running, running_world

DAYS, PEOPLE = 1, 150
LIVE_S = 1_200
"""Long enough to see how fast live people use budgets up."""


async def play_live_minutes(folder: Path) -> None:
    async with running_world(folder, 1) as running:
        starts_at, street = running.clock.now(), running.street
        rng = Random(5)  # noqa: S311  # it makes up people
        people = list(takewhile(lambda visitor: visitor.seen_at_s[-1] < LIVE_S, live_visitors(rng)))
        late = [visitor for visitor in people if visitor.seen_at_s[0] > LIVE_S * 0.8]
        await play_history(street, people[: -len(late)], running.clock, starts_at)
        views, chats = street.tally.views, street.tally.chats
        await play_history(street, late, running.clock, starts_at)
        assert street.tally.views - views > len(late) / 2, "nobody sees an ad any more"
        assert street.tally.chats > chats, "nobody writes any more"
        await running.settled()
        business_id = street.world.business_id
        spent = select(func.max(charged_days.c.charged_micros)).where(
            charged_days.c.business_id == business_id
        )
        most = await running.context.db.read(lambda tx: int(tx.scalar(spent)))
        assert most * 86_400 / LIVE_S < BUDGET_MICROS, "the budget of the day does not last"


async def play_small_world(folder: Path) -> None:
    async with running_world(folder, DAYS) as running:
        starts_at = running.clock.now()
        people = plan_people(3, PEOPLE, DAYS * 86_400, starts_at.timestamp())
        await play_history(running.street, people, running.clock, starts_at)
        await check_the_ledger(running)
        await check_the_leads(running)
        await check_the_credits(running)
        await check_the_forms(running)


async def check_the_ledger(running: Running) -> None:
    ledger = await running.settled()
    assert ledger.waiting == 0
    assert ledger.refused == 0, ledger.reasons
    assert ledger.received == ledger.stored + ledger.merged
    assert ledger.merged > 0, "some deliveries come twice"
    assert ledger.received >= running.street.tally.webhooks


async def check_the_leads(running: Running) -> None:
    """Whoever shared a detail is a lead with just those details, and nobody else is one."""
    truth, world = running.street.truth, running.street.world
    assert sum(bool(row.contacts) for row in truth) > 3

    def found(tx: Tx, row: Truth) -> tuple[str, ...]:
        person_id = person_id_of(tx.vault, world.accounts[row.platform], row.person)
        lead = find_lead_of_person(tx, world.business_id, person_id)
        points = list_contact_points(tx, world.business_id, {lead.id})[lead.id] if lead else []
        return tuple(sorted(point.value for point in points))

    for row in truth:
        assert await running.context.db.read(lambda tx, row=row: found(tx, row)) == tuple(
            sorted(row.contacts)
        )


async def check_the_credits(running: Running) -> None:
    """Every conversation was earned by the ad that was tapped before it."""
    world, chatted = running.street.world, [row for row in running.street.truth if row.chatted]

    def credited(tx: Tx, row: Truth) -> str:
        conversation_id = conversation_id_of(world.accounts[row.platform], _thread_of(row))
        earned = find_attribution(tx, world.business_id, conversation_id, ConversionKind.CONVERSATION)
        ads = list_measured_ads(tx, world.business_id)
        return str(ads[earned.ad_id].ad_number) if earned and earned.ad_id else ""

    for row in chatted:
        assert await running.context.db.read(lambda tx, row=row: credited(tx, row)) == row.ad_id
    counted = await running.context.db.read(
        lambda tx: count_conversations(tx, world.business_id, ConversationFilter())
    )
    assert counted == len(chatted)


async def check_the_forms(running: Running) -> None:
    """Every form that was sent is kept once, however often it was sent, and made its person a lead."""
    world, sent = running.street.world, running.street.tally.forms
    assert sent > 0
    counts = await running.context.db.read(lambda tx: count_answers(tx, world.business_id))
    assert [*counts.values()] == [{FormVerdict.TAKEN: sent}]
    (form_id,) = counts
    kept = await running.context.db.read(lambda tx: list_answers(tx, world.business_id, form_id))
    assert all(answer.lead_id for answer in kept)


def _thread_of(row: Truth) -> str:
    return f"conv_{row.person}" if row.person.startswith("_000") else row.person


def test_what_people_did_is_what_the_platform_knows(tmp_path: Path) -> None:
    asyncio.run(play_small_world(tmp_path))


def test_live_people_go_on_seeing_ads_for_a_whole_day(tmp_path: Path) -> None:
    asyncio.run(play_live_minutes(tmp_path))
