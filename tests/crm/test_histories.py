"""Generated histories: whatever happens in whatever order, the ledger adds up and no lead is there twice."""

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from contatto.capture.model import Field
from contatto.crm.actions.targets import pause_target, resume_target, resync_target
from contatto.crm.model import RecordLink, TargetState
from contatto.crm.store.deliveries import IS_SENT, ledger, list_listed
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest, SendFailure
from contatto.kit.vault import Vault
from contatto.leads.actions.annotations import erase_leads, merge_leads
from contatto.leads.actions.records import change_lead_status, delete_lead
from contatto.leads.model import Actor, LeadStatus, Picks
from contatto.leads.rules.records import MOVES
from contatto.leads.store.records import find_lead
from contatto.leads.store.tables import leads
from tests import make, schema
from tests.crm.engine import PORTS_WITH_MEMORY, claim, counts, fresh, link, run_all
from tests.crm.memory import MemoryCrm
from tests.examples import examples

FAULTS: Final = ("lost after", "lost before", "down", "throttled", "html", "expired", "unreached")
NUMBER: Final = int(os.environ.get("CONTATTO_HISTORIES", "0")) or examples(45)
"""How many histories are played: the variable asks for a number, such as the 10,000 of a release."""
HISTORIES: Final = settings(
    max_examples=NUMBER,
    stateful_step_count=20,
    phases=(Phase.generate,),
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
"""Histories are not made shorter when one fails: that takes minutes, and it is printed as it is. Where
the machine is busy with other things they take long, which is no fault of theirs.
"""
PEOPLE: Final = st.integers(0, 4)


class Histories(RuleBasedStateMachine):
    """A business with leads, a CRM that fails now and then, and a process that is killed now and then."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="contatto-histories-")
        shutil.copy(self.template, f"{self.folder}/test.db")
        self.clock = FixedClock(datetime.fromisoformat("2026-01-01T12:00:00+00:00"))
        url = f"sqlite:///{self.folder}/test.db"
        self.db = open_database(url, self.clock, Vault({"test": bytes(32)}), PORTS_WITH_MEMORY)
        self.crm = MemoryCrm()
        self.leads: list[str] = []
        self.erased: set[str] = set()

    def teardown(self) -> None:
        try:
            if hasattr(self, "target"):
                self.settle_all()
                self.db.read_now(self.check_end)
        finally:
            self.db.close()
            shutil.rmtree(self.folder)

    def do[T](self, work: Callable[[Tx], T]) -> T:
        return self.db.write_now(work)

    @initialize(is_unique=st.booleans())
    def begin(self, is_unique: bool) -> None:
        self.crm.is_unique = is_unique

        def work(tx: Tx) -> None:
            self.business_id: str = make.business(tx).id
            self.target = link(tx, self.business_id)
            run_all(tx, self.crm.handle)

        self.do(work)

    @rule(person=PEOPLE, number=st.integers(0, 2))
    def share(self, person: int, number: int) -> None:
        def work(tx: Tx) -> None:
            phone = make.contact(f"+65912345{person}{number}")
            email = make.contact(f"p{person}@example.com", Field.EMAIL)
            made = make.lead(tx, self.business_id, phone, email, person_id=f"p{person}")
            self.leads = sorted({*self.leads, made.id})

        self.do(work)

    @rule(which=st.integers(0, 9), wanted=st.sampled_from(LeadStatus))
    def move(self, which: int, wanted: LeadStatus) -> None:
        def work(tx: Tx) -> None:
            lead = self.pick(tx, which)
            if lead is not None and wanted in MOVES[lead.status]:
                change_lead_status(tx, self.business_id, lead.id, lead.status, wanted, "Ana")

        self.do(work)

    @rule(first=st.integers(0, 9), second=st.integers(0, 9))
    def merge(self, first: int, second: int) -> None:
        def work(tx: Tx) -> None:
            kept, gone = self.pick(tx, first), self.pick(tx, second)
            if kept is not None and gone is not None and kept.id != gone.id:
                actor = Actor(self.business_id, "m1", "Ana")
                merge_leads(tx, actor, kept.id, gone.id, Picks(), "")

        self.do(work)

    @rule(which=st.integers(0, 9))
    def erase(self, which: int) -> None:
        def work(tx: Tx) -> None:
            lead = self.pick(tx, which)
            if lead is not None:
                self.erased |= erase_leads(tx, self.business_id, [lead], "Ana")

        self.do(work)

    def pick(self, tx: Tx, which: int) -> Any:
        """A lead that is in the lists."""
        found = [find_lead(tx, self.business_id, each) for each in self.leads]
        shown = [each for each in found if each is not None and each.hidden_at is None]
        return shown[which % len(shown)] if shown else None

    @rule(fault=st.sampled_from(FAULTS), step=st.integers(0, 6), minutes=st.sampled_from([0, 2, 400]))
    def work_with_a_fault(self, fault: str, step: int, minutes: int) -> None:
        self.clock.advance(minutes=minutes)
        asked = 0

        def fate(request: HttpRequest) -> HttpOutcome:
            nonlocal asked
            asked += 1
            return self.fail(fault, request) if asked == step else self.crm.handle(request)

        self.do(lambda tx: run_all(tx, fate))

    def fail(self, fault: str, request: HttpRequest) -> HttpOutcome:
        if fault == "lost after":
            self.crm.handle(request)
        if fault == "expired":
            self.crm.token = str(int(self.crm.token) + 1)
            return self.crm.handle(request)
        answers: dict[str, HttpOutcome] = {
            "down": HttpAnswer(503, {}, b""),
            "throttled": HttpAnswer(429, {"retry-after": "90"}, b""),
            "html": HttpAnswer(200, {}, b"<p>"),
            "unreached": SendFailure.UNREACHED,
        }
        return answers.get(fault, SendFailure.LOST)

    @rule(steps=st.integers(1, 4), has_arrived=st.booleans())
    def kill(self, steps: int, has_arrived: bool) -> None:
        """The process ends between a request and writing down what was answered."""

        def work(tx: Tx) -> None:
            for _, ask in claim(tx)[:steps]:
                if has_arrived:
                    self.crm.handle(ask.request)

        self.do(work)
        self.clock.advance(seconds=61)

    @rule(days=st.integers(0, 7))
    def pause(self, days: int) -> None:
        self.do(lambda tx: pause_target(tx, fresh(tx, self.target)))
        self.clock.advance(days=days)

    @rule()
    def resume(self) -> None:
        self.do(lambda tx: resume_target(tx, fresh(tx, self.target)))

    @rule(which=st.integers(0, 9))
    def delete(self, which: int) -> None:
        def work(tx: Tx) -> None:
            lead = self.pick(tx, which)
            if lead is not None:
                delete_lead(tx, lead, "Ana")

        self.do(work)

    @rule(which=st.integers(0, 9))
    def lose_there(self, which: int) -> None:
        """Somebody deletes a record in the CRM."""
        live = self.crm.live()
        if live:
            del self.crm.records[live[which % len(live)]["id"]]

    @rule(first=st.integers(0, 9), second=st.integers(0, 9))
    def merge_there(self, first: int, second: int) -> None:
        """Somebody makes one record of two in the CRM."""
        live = self.crm.live()
        if len(live) > 1:
            gone, left = live[first % len(live)], live[second % len(live)]
            if gone is not left:
                gone["moved_to"] = left["id"]

    @invariant()
    def ledger_adds_up(self) -> None:
        if not hasattr(self, "target"):
            return

        def work(tx: Tx) -> None:
            listed = select(func.count()).where(
                leads.c.business_id == self.business_id,
                leads.c.hidden_at.is_(None),
                leads.c.erased_at.is_(None),
            )
            assert sum(counts(tx, self.target).values()) == tx.scalar(listed)

        self.db.read_now(work)

    @invariant()
    def revisions_never_go_back(self) -> None:
        last: dict[str, int] = {}
        for lead_id, revision in self.crm.writes:
            assert revision >= last.get(lead_id, 0)
            last[lead_id] = revision

    def settle_all(self) -> None:
        """In the end all is well again, every lead is sent once more, and everything has its time."""
        self.do(lambda tx: resume_target(tx, fresh(tx, self.target)))
        self.do(lambda tx: resync_target(tx, fresh(tx, self.target)))
        for _ in range(12):
            self.clock.advance(hours=7)
            self.do(lambda tx: run_all(tx, self.crm.handle))

    def check_end(self, tx: Tx) -> None:
        assert fresh(tx, self.target).state is TargetState.ACTIVE
        left = ledger.list_entries(tx, self.business_id, self.target.id)
        states = {*counts(tx, self.target), *(each.state for each in left)}
        assert states <= {DeliveryState.VERIFIED, DeliveryState.SENT}, left
        carried = [each["external_id"] for each in self.crm.live()]
        assert sorted(carried) == sorted(set(carried)), "no lead is there twice"
        assert self.erased.isdisjoint(carried), "nobody who was erased is there"
        found = [find_lead(tx, self.business_id, each) for each in self.leads]
        shown = {each.id for each in found if each is not None and each.hidden_at is None}
        went = {each.id for each in found if each is not None and each.merged_into}
        assert went.isdisjoint(carried), "what was merged here is one record there"
        parts = list_listed(tx, self.business_id, self.target.id, IS_SENT, most=100)
        assert shown - set(carried) == {part.lead_id for part in parts}, "each has a record, or a part in one"
        for part in parts:
            assert self.carrier_of(part) not in ("", part.lead_id), "it went into the record of another lead"

    def carrier_of(self, part: RecordLink) -> str:
        """Whose record it is that a lead has a part in.

        What leads there need not carry the lead's own id: it may be the record of one that was merged into it
        here, before it had one of its own.
        """
        there = self.crm.records[part.record_id]
        assert there["moved_to"], "the ledger keeps what leads there"
        while there["moved_to"]:
            there = self.crm.records[there["moved_to"]]
        carrier: str = there["external_id"]
        return carrier


def test_in_any_history_order_and_ledger_hold(tmp_path: Path) -> None:
    schema.copy_schema(tmp_path / "template.db")
    Histories.template = tmp_path / "template.db"
    run_state_machine_as_test(Histories, settings=HISTORIES)
