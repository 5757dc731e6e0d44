"""Erasing wins over work that runs at the same time, at each of its statements, on both databases."""

import threading
from collections.abc import Callable
from typing import Any, Final

import pytest
from sqlalchemy import event, select

from contatto.capture.model import Field
from contatto.channels.actions import set_access_token
from contatto.channels.model import MessageKind, Sender
from contatto.crm.actions.checks import take_crm_change
from contatto.crm.actions.deliveries import schedule_lead
from contatto.crm.model import Cursor, RecordChange, Target
from contatto.inbox.actions.forms import ChatVisitor, HandedIn, take_form
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import add_private_note
from contatto.inbox.model import Message
from contatto.inbox.store.conversations import conversations, messages
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.leads.actions import annotations
from contatto.leads.actions.annotations import merge_leads, undo_merge
from contatto.leads.actions.jobs import continue_job, start_job
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import Actor, JobKind, JobPlan, Lead, LeadJobMoved, LeadJobState, LeadStatus, Picks
from contatto.leads.store import records as lead_store
from contatto.leads.store import tables
from contatto.leads.store.records import list_merges
from tests import make
from tests.background import work_off
from tests.crm.engine import link, with_memory
from tests.forms import papers
from tests.leads.test_erasing import erase, traces

POINTS: Final = 5
"""Statements of a piece of work before which the erasure is tried, spread over all of them."""
LAST: Final = 10_000
"""Beyond all statements: the erasure comes after the work."""
WAIT_S: Final = 0.3
"""So long the erasure may take before it counts as one that waits for a lock."""

type Step = Callable[[Tx], object]
type Begin = Callable[["World"], Step]


class World:
    """A person who wrote and left contact details, another one, and a member who works with both."""

    def __init__(self, db: Database, number: int) -> None:
        self.db = db
        self.phone, self.mail = f"+6591{number:06}", f"zelda{number}@example.com"
        self.text = f"Call {self.phone} or {self.mail}"
        self.user = f"u{number}"
        self.shop, self.actor = db.write_now(self._settle_in)
        self.write(self.text)
        db.write_now(settle_receipts)
        self.gone = self._lead()
        self.stays = db.write_now(
            lambda tx: make.lead(
                tx, self.business_id, make.contact(f"+6581{number:06}"), person_id=f"other {number}"
            )
        )
        self.marks = (self.phone, self.mail)

    def _settle_in(self, tx: Tx) -> tuple[make.Shop, Actor]:
        shop = make.shop(tx, open_id=f"open {self.user}")
        member = make.member(tx, shop.business_id, f"{self.user}@kopi.example.com")
        return shop, Actor(shop.business_id, member.id, "Owner")

    @property
    def business_id(self) -> str:
        return self.shop.business_id

    def write(self, text: str) -> None:
        """Store a message of the person that nobody has settled yet."""
        said = make.webhook("im_receive_msg", make.said(text, self.user), user_openid=f"open {self.user}")
        self.db.write_now(lambda tx: make.receipt(tx, self.business_id, said))

    def _lead(self) -> Lead:
        mine = select(tables.leads.c.id).where(tables.leads.c.business_id == self.business_id)
        lead_id = self.db.read_now(lambda tx: tx.scalar(mine))
        lead = self.db.read_now(lambda tx: lead_store.find_lead(tx, self.business_id, str(lead_id)))
        assert lead
        return lead

    def find(self, lead: Lead) -> Lead | None:
        return self.db.read_now(lambda tx: lead_store.find_lead(tx, self.business_id, lead.id))

    def merge(self, tx: Tx, kept: Lead, gone: Lead) -> None:
        merge_leads(tx, self.actor, kept.id, gone.id, Picks(), self.text)

    def start(self, kind: JobKind, plan: JobPlan) -> Step:
        """Start a job and return its next step."""
        job = self.db.write_now(lambda tx: start_job(tx, self.actor, kind, plan))
        self.db.write_now(
            lambda tx: tx.change(tables.lead_jobs, self.business_id, job.id, state=LeadJobState.RUNNING)
        )
        return lambda tx: continue_job(tx, LeadJobMoved(self.business_id, job.id))


def merge_away(world: World) -> Step:
    return lambda tx: world.merge(tx, world.stays, world.gone)


def merge_into(world: World) -> Step:
    return lambda tx: world.merge(tx, world.gone, world.stays)


def split(world: World) -> Step:
    world.db.write_now(lambda tx: world.merge(tx, world.gone, world.stays))
    (merge,) = world.db.read_now(lambda tx: list_merges(tx, world.business_id, world.gone.id))
    return lambda tx: undo_merge(tx, world.actor, merge.id)


def import_row(world: World) -> Step:
    rows = ((world.phone, world.mail),)
    return world.start(
        JobKind.IMPORT, JobPlan("SG", rows=rows, head=("Phone", "Mail"), columns=("phone", "email"))
    )


def change_many(world: World) -> Step:
    return world.start(JobKind.STATUS, JobPlan("contacted", lead_ids=(world.gone.id,)))


def settle_late_message(world: World) -> Step:
    world.write(f"Or {world.mail}, again {world.phone}")
    return settle_receipts


def add_note(world: World) -> Step:
    return lambda tx: annotations.add_note(tx, world.actor, world.gone.id, world.text)


def change_status(world: World) -> Step:
    of, seen, new = world.business_id, LeadStatus.RAW, LeadStatus.CONTACTED
    return lambda tx: change_lead_status(tx, of, world.gone.id, seen, new, world.mail)


def change_point(world: World) -> Step:
    field = Field.EMAIL
    return lambda tx: annotations.add_contact_point(tx, world.actor, world.gone.id, field, f"x.{world.mail}")


def reply(world: World) -> Step:
    talk, account = world.gone.conversation_id, world.shop.tiktok
    world.db.write_now(lambda tx: set_access_token(tx, world.business_id, account.id, "token"))
    said = Message(0, new_id(), talk, Sender.BUSINESS, MessageKind.TEXT, world.text, "Owner", make.NOON)
    return lambda tx: send_reply(tx, world.business_id, talk, said)


def note_beside_chat(world: World) -> Step:
    return lambda tx: add_private_note(tx, world.actor, world.gone.conversation_id, new_id(), world.text)


def take_change_of_crm(world: World) -> Step:
    def connect(tx: Tx) -> Target:
        target = link(with_memory(tx), world.business_id)
        schedule_lead(tx, world.business_id, world.gone.id)
        return target

    target = world.db.write_now(connect)
    change = RecordChange("", Cursor("", ""), external_id=world.gone.id, owner=world.mail)
    return lambda tx: take_crm_change(tx, target, change)


def take_filled_form(world: World) -> Step:
    version = world.db.write_now(lambda tx: papers.published(tx, world.business_id))
    chat = ChatVisitor(world.shop.tiktok, world.user, "network")
    handed = HandedIn(
        world.business_id,
        version.number,
        world.gone.conversation_id,
        papers.sent(new_id(), q1=f"form.{world.mail}"),
        chat,
    )
    return lambda tx: take_form(tx, handed)


ALL: Final[tuple[Begin, ...]] = (
    merge_away, merge_into, split, import_row, change_many, settle_late_message, add_note, change_status,
    change_point, reply, note_beside_chat, take_change_of_crm, take_filled_form,
)  # fmt: skip


class Turnstile:
    """A thread's statements, before one of which another piece of work is let in."""

    def __init__(self, db: Database, at: int, work: Callable[[], object]) -> None:
        self._db, self._at, self._work = db, at, work
        self._mine = threading.get_ident()
        self._other = threading.Thread(target=self._run)
        self.count = 0
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> "Turnstile":
        if self._at == 0 and not has_many_writers(self._db):
            self._let_in()
        event.listen(self._db.engine, "before_cursor_execute", self._before)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._db.engine, "before_cursor_execute", self._before)
        if self._other.ident is None:
            self._let_in()
        self._other.join(60)
        assert not self._other.is_alive(), "the erasure waits for ever"

    def _let_in(self) -> None:
        self._other.start()
        self._other.join(WAIT_S if has_many_writers(self._db) else 60)

    def _before(self, *_: Any) -> None:
        if threading.get_ident() != self._mine:
            return
        if self.count == self._at:
            self._let_in()
        self.count += 1


def has_many_writers(db: Database) -> bool:
    """Report whether two transactions write at a time; in SQLite one comes before or after all of another."""
    return db.engine.dialect.name == "postgresql"


def run_beside(world: World, begin: Begin, at: int) -> tuple[int, bool, bool]:
    """Run a piece of work and erase before one of its statements.

    Returns:
        The number of its statements, and whether the work and the erasure were refused.
    """
    step, refused = begin(world), False
    with Turnstile(world.db, at, lambda: erase(world.db, world.actor, world.gone.id)) as gate:
        try:
            world.db.write_now(step)
        except Refused:
            refused = True
    if gate.error is not None and not isinstance(gate.error, Refused):
        raise gate.error
    work_off(world.db)
    return gate.count, refused, gate.error is not None


def list_orphans(db: Database, business_id: str) -> list[str]:
    """Return messages of conversations that are not there, and details of leads that are erased."""
    of = conversations.c.business_id == business_id
    talks = select(conversations.c.id).where(of)
    lost = select(messages.c.id).where(
        messages.c.business_id == business_id, messages.c.conversation_id.not_in(talks)
    )
    leads = tables.leads
    live = select(leads.c.id).where(leads.c.business_id == business_id, leads.c.erased_at.is_(None))
    hanging = [
        select(table.c.id).where(table.c.business_id == business_id, table.c.lead_id.not_in(live))
        for table in (tables.contact_points, tables.evidence, tables.lead_history)
    ]
    return db.read_now(lambda tx: [row for each in (lost, *hanging) for row in tx.execute(each).scalars()])


@pytest.mark.parametrize("begin", ALL, ids=lambda begin: begin.__name__)
def test_erasing_wins_over_work_that_runs_at_any_of_its_statements(database: Database, begin: Begin) -> None:
    numbers = iter(range(1_000))
    count, *_ = run_beside(World(database, next(numbers)), begin, LAST)
    points = sorted({part * count // POINTS for part in range(POINTS)}) if has_many_writers(database) else [0]
    for at in (*points, LAST):
        world = World(database, next(numbers))
        _, is_left, was_refused = run_beside(world, begin, at)
        assert list_orphans(database, world.business_id) == [], f"before statement {at}"
        left = traces(database, world.business_id, world.marks)
        if was_refused:
            assert begin is merge_away, "only a lead that went into another cannot be erased"
            assert left
        elif begin is not take_filled_form:  # a form that comes after the erasure is a new person's
            assert left == [], f"before statement {at}"
        stays = world.find(world.stays)
        is_merged = begin is split or (begin is merge_into and not is_left)
        assert stays or is_merged, "the other lead was not to be erased"


@pytest.mark.parametrize("begin", ALL, ids=lambda begin: begin.__name__)
def test_work_that_comes_between_the_request_and_the_erasure_saves_nothing(
    database: Database, begin: Begin
) -> None:
    world = World(database, 1)
    step = begin(world)
    plan = JobPlan(lead_ids=(world.gone.id,))
    database.write_now(lambda tx: start_job(tx, world.actor, JobKind.ERASE, plan))
    if begin in (merge_away, merge_into, split):
        with pytest.raises(Refused, match="is being erased"):
            database.write_now(step)
    else:
        database.write_now(step)
    work_off(database)
    assert list_orphans(database, world.business_id) == []
    assert traces(database, world.business_id, world.marks) == []
    assert world.find(world.stays) or begin is split, "only who was merged into a lead goes with it"
