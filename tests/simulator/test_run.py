"""A small world is played through the real endpoints, and what the platform then knows is the truth."""

import asyncio
from itertools import islice
from pathlib import Path

from contatto.forms.model import FormVerdict
from contatto.forms.store import count_answers, list_answers
from contatto.inbox.actions.incoming import conversation_id_of, person_id_of
from contatto.inbox.store.desk import ConversationFilter, count_conversations
from contatto.kit.db.tx import Tx
from contatto.leads.store.listing import list_contact_points
from contatto.leads.store.records import find_lead_of_person
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution, list_measured_ads
from contatto.simulator.traffic import VisitTruth, list_coming
from contatto.simulator.world import plan_people
from tests.simulator.running import Replay, Running, running_world

DAYS, PEOPLE = 1, 150


async def play_small_world(folder: Path) -> None:
    async with running_world(folder, DAYS) as running:
        people = plan_people(3, PEOPLE, DAYS * 86_400.0)
        replay = Replay(running.clock, running.clock.now())
        await replay.play([running.street.visit(visitor, replay.until) for visitor in people])
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
    assert ledger.received >= running.street.webhooks


async def check_the_leads(running: Running) -> None:
    """Whoever shared a detail is a lead with just those details, and nobody else is one."""
    truth, world = running.street.truth, running.street.world
    assert sum(bool(row.contacts) for row in truth) > 3

    def found(tx: Tx, row: VisitTruth) -> tuple[str, ...]:
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

    def credited(tx: Tx, row: VisitTruth) -> str:
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
    world, sent = running.street.world, running.street.forms
    assert sent > 0
    counts = await running.context.db.read(lambda tx: count_answers(tx, world.business_id))
    assert [*counts.values()] == [{FormVerdict.TAKEN: sent}]
    (form_id,) = counts
    kept = await running.context.db.read(lambda tx: list_answers(tx, world.business_id, form_id=form_id))
    assert all(answer.lead_id for answer in kept)


def _thread_of(row: VisitTruth) -> str:
    return f"conv_{row.person}" if row.person.startswith("_000") else row.person


def test_what_people_did_is_what_the_platform_knows(tmp_path: Path) -> None:
    asyncio.run(play_small_world(tmp_path))


def test_people_come_without_end_and_none_before_now() -> None:
    people = plan_people(1, 40, 86_400.0)
    coming = list(islice(list_coming(people, 40_000.0, 1), 100))
    moments = [visitor.looks[0].at_s for visitor in coming]
    assert min(moments) >= 40_000.0
    assert max(moments) > 2 * 86_400.0
    assert 0 < sum(moment < 86_400.0 for moment in moments) <= 40
