"""Forms end alike, table by table, whether they are taken one by one or together, broken ones too."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from contatto.forms.actions import Unanswered
from contatto.forms.model import FormVersion, Submission
from contatto.forms.store import form_answers
from contatto.inbox.actions.forms import ChatVisitor, FormBatcher, HandedIn, Opening, list_opened, take_form
from contatto.inbox.actions.incoming import conversation_id_of, person_id_of
from contatto.inbox.store.conversations import find_conversation, inline_notices
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import dispatch_events, events
from contatto.kit.vault import Vault
from contatto.leads.model import Evidence
from contatto.leads.rules.records import Facet, facet_word
from contatto.leads.store import intake
from contatto.leads.store.intake import evidence_row
from contatto.wiring import AFTER
from tests import make
from tests.forms.papers import kitchen, published
from tests.inbox.test_batches import differences, renamed, rows_of
from tests.inbox.test_order import OPEN_IDS
from tests.make import Shop, record_touch

WHOLE: dict[str, Any] = {"q1": "a", "q2": ["b"], "q4": "Mei Tan", "q5": "mei@example.com", "q6": "8123 4567"}
GIVEN: tuple[Submission, ...] = (
    Submission("submission-1", "en", WHOLE, ("c1",)),
    Submission("submission-1", "en", WHOLE | {"q5": "other@example.com"}, ("c1", "c2")),
    Submission("submission-2", "ar", WHOLE | {"q4": "Mei", "q5": "second@example.com"}, ("c1",)),
    Submission("submission-3", "en", {"q1": "b", "q5": "nonsense"}),
    Submission("submission-4", "en", WHOLE | {"q1": "c"}, ("c1",)),
    Submission("submission-5", "en", WHOLE, ("c1",), website="https://spam.example"),
    Submission("submission-6", "tlh", WHOLE | {"q5": "broken@example.com"}, ("c1",)),
)
"""What may be sent; the last breaks our own code once its lead is there."""
PERSONS, WAYS = 4, 4
PICKS = st.lists(
    st.tuples(st.integers(0, PERSONS - 1), st.integers(0, len(GIVEN) - 1), st.integers(0, WAYS - 1)),
    min_size=1,
    max_size=20,
)
type Pick = tuple[int, int, int]
"""Who sends what, and how: beside the chat, by the other form, by a link, or as it was not opened."""


@dataclass(frozen=True, slots=True)
class World:
    """A business with two forms, and what is renamed of its rows."""

    shop: Shop
    ad: Any
    versions: tuple[FormVersion, FormVersion]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    def evidence_or_break(vault: Vault, item: Evidence) -> dict[str, Any]:
        if "broken" in item.raw:
            raise ValueError("broken")
        return evidence_row(vault, item)

    monkeypatch.setattr(intake, "evidence_row", evidence_or_break)


def built(tx: Tx) -> World:
    """Who comes first has tapped an ad, and who comes last stands in a thread already."""
    shop = make.shop(tx, open_id=next(OPEN_IDS))
    ad = make.published_ad(tx, shop.business_id, ad_id=new_id(), ad_name="Ad")
    other = replace(kitchen(), languages=("en",))
    versions = (published(tx, shop.business_id, kitchen()), published(tx, shop.business_id, other, "Other"))
    return World(shop, ad, versions)


def handed_in(world: World, pick: Pick) -> HandedIn:
    person, what, way = pick
    account, visitor = world.shop.webchat, f"visitor {person}"
    conversation_id = conversation_id_of(account, visitor)
    number = world.versions[1 if way == 1 else 0].number
    made = partial(HandedIn, account.business_id, number, conversation_id, GIVEN[what])
    if way == 2 and person == PERSONS - 1:
        return made()
    return made(
        ChatVisitor(account, visitor, f"network {person % 2}"),
        Refused(errors.UNSIGNED) if way == 3 else None,
    )


def outcome_of(
    db: Database, picks: Sequence[Pick], size: int, most_new: int
) -> tuple[list[str], dict[str, list[str]]]:
    """What each was told, and all rows, after these forms were taken so many at a time."""
    world = db.write_now(built)
    forms = FormBatcher(db, most_new, lambda work, tx: work(tx))

    async def take(some: Sequence[HandedIn]) -> list[Any]:
        return await asyncio.gather(*(forms.submit(each) for each in some), return_exceptions=True)

    asyncio.run(take([handed_in(world, (PERSONS - 1, 0, 0))]))
    tapped = person_id_of(db.vault, world.shop.webchat, "visitor 0")
    db.write_now(lambda tx: record_touch(tx, make.touch(world.ad, person_id=tapped)))
    works = [handed_in(world, pick) for pick in picks]
    batches = [works[start : start + size] for start in range(0, len(works), size)]
    told = [each for batch in batches for each in asyncio.run(take(batch))]
    return [told_as(each) for each in told], db.read_now(lambda tx: named_rows(tx, world))


def told_as(outcome: Any) -> str:
    if isinstance(outcome, Unanswered):
        return f"lacks {[problem.at for problem in outcome.problems]}"
    if isinstance(outcome, Refused):
        return f"refused {outcome.code}"
    if isinstance(outcome, Exception):
        return f"broken {outcome}"
    return f"{outcome.verdict} {outcome.score} {outcome.language} {bool(outcome.lead_id)}"


def named_rows(tx: Tx, world: World) -> dict[str, list[str]]:
    of = world.shop.business_id
    names = {each.id: f"version of {each.name}" for each in world.versions}
    names |= {each.form_id: f"form {each.name}" for each in world.versions}
    names |= {facet_word(Facet.FORM, each.form_id): "f:form" for each in world.versions}
    names |= {str(each.number): f"number of {each.name}" for each in world.versions}
    answers = tx.execute(select(form_answers).where(form_answers.c.business_id == of)).mappings()
    names |= {row["id"]: f"answer {row['verdict']} {row['language']} {bool(row['ad_id'])}" for row in answers}
    names[person_id_of(tx.vault, world.shop.webchat, "visitor 0")] = "person visitor 0"
    found = rows_of(tx, world.shop, world.ad)
    return {name: sorted(renamed(renamed(row, names), names) for row in rows) for name, rows in found.items()}


def assert_alike(db: Database, picks: Sequence[Pick], size: int, most_new: int) -> dict[str, list[str]]:
    told_together, together = outcome_of(db, picks, size, most_new)
    told_alone, alone = outcome_of(db, picks, 1, most_new)
    assert told_together == told_alone
    assert differences([together], [alone]) == []
    return together


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(picks=PICKS, size=st.integers(2, 20), most_new=st.sampled_from((0, 1, 2)))
@pytest.mark.usefixtures("breaking")
def test_forms_in_any_order_end_alike_one_by_one_and_in_any_batches(
    database: Database, picks: list[Pick], size: int, most_new: int
) -> None:
    assert_alike(database, picks, size, most_new)


def test_all_that_may_be_sent_ends_alike_one_by_one_and_in_one_batch(database: Database) -> None:
    whole = range(len(GIVEN) - 1)
    picks = [(who, what, way) for what in whole for who in range(PERSONS) for way in range(WAYS)]
    rows = assert_alike(database, picks, len(picks), 0)
    assert len(rows["leads"]) == PERSONS


def test_forms_hand_out_what_follows_from_them_in_their_own_transaction(database: Database) -> None:
    world = database.write_now(built)
    forms = FormBatcher(database, 0, partial(dispatch_events, AFTER))
    works = [handed_in(world, (person, 0, 0)) for person in range(3)]

    async def take() -> list[Any]:
        return await asyncio.gather(*map(forms.submit, works))

    assert len(asyncio.run(take())) == 3
    assert database.read_now(lambda tx: tx.scalar(select(func.count()).where(~events.c.fanned_out))) == 0
    posted = select(func.count()).select_from(inline_notices)
    assert database.read_now(lambda tx: tx.scalar(posted)) == 3


def test_forms_that_are_opened_together_are_each_shown_to_who_opened_them(database: Database) -> None:
    ours, theirs = database.write_now(built), database.write_now(built)
    database.write_now(lambda tx: take_form(tx, handed_in(ours, (0, 0, 0))))
    known, other = (version.number for version in ours.versions)
    openings = [
        Opening(world.shop.webchat, visitor, number)
        for world in (ours, theirs)
        for visitor in ("visitor 0", "visitor 1")
        for number in (known, other, theirs.versions[0].number, 404)
    ]

    def told(some: Sequence[Opening]) -> list[tuple[int, bool] | None]:
        opened = database.read_now(lambda tx: list_opened(tx, some))
        return [each and (each[0].number, each[1].is_back) for each in opened]

    together = told(openings)
    assert together == [each for opening in openings for each in told([opening])]
    assert together[:3] == [(known, True), (other, False), None]
    assert [each for each in together[4:] if each] == [(known, False), (other, False)] + [
        (theirs.versions[0].number, False)
    ] * 2


def test_a_thread_that_a_form_begins_is_inserted_with_its_lead(database: Database) -> None:
    world = database.write_now(built)
    handed = handed_in(world, (0, 0, 0))
    answer = database.write_now(lambda tx: take_form(tx, handed))
    thread = database.read_now(lambda tx: find_conversation(tx, answer.business_id, answer.conversation_id))
    assert thread is not None
    assert thread.lead_id == answer.lead_id != ""
