"""Contact details that leave the installation: a wrong one stays here, whichever way out there is."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

import contatto
from contatto.accounts.actions import NewAdAccount, add_ad_account
from contatto.accounts.model import BusinessId
from contatto.crm.actions.deliveries import read_snapshot
from contatto.forms.actions import list_form_entries
from contatto.forms.model import FormSubmitted, QuestionKind
from contatto.forms.rules.views import lead_table
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.leads.actions.annotations import change_contact_point
from contatto.leads.model import Actor, LeadCaptured, LeadSource
from contatto.leads.pages.bulk import read_leads
from contatto.leads.rules.records import LeadFilter, chat_data
from contatto.leads.store.listing import list_contact_points, list_outgoing_points
from contatto.subscriptions.actions import (
    push_form_lead,
    push_hooks,
    push_lead,
    subscribe_hook,
    subscribe_program,
)
from contatto.subscriptions.model import Entity, NewSubscription
from contatto.subscriptions.store import pushes
from tests import make
from tests.forms import papers

WRONG, RIGHT, CORRECTED = "+60129876543", "+60123456789", "+60123334444"
READS_ALL: Final = {
    "crm/actions/deliveries.py",
    "inbox/actions/forms.py",
    "inbox/pages/desk.py",
    "inbox/pages/thread.py",
}
"""Modules that show contact details to members or to the person alone, or clear wrong ones in CRMs."""


class Case:
    """A lead of a form with two numbers, one of which a member marked wrong."""

    def __init__(self, tx: Tx) -> None:
        self.business_id = make.shop(tx).business_id
        self.actor = Actor(self.business_id, make.member(tx, self.business_id).id, "Owner")
        phone = papers.question("q1", QuestionKind.PHONE, required=True, country="MY")
        self.version = papers.published(tx, self.business_id, papers.content(phone))
        sent = papers.sent(q1=WRONG)
        self.answer = papers.submit_form(tx, self.version, papers.respondent(self.business_id), sent)
        self.lead = make.lead(tx, self.business_id, make.contact(RIGHT), person_id="p1")
        self.wrong = next(
            point
            for point in list_contact_points(tx, self.business_id, {self.lead.id})[self.lead.id]
            if point.value == WRONG
        )
        change_contact_point(tx, self.actor, self.lead.id, (self.wrong.id, WRONG), "wrong")


@pytest.fixture
def case(database: Database) -> Case:
    return database.write_now(Case)


def crm(tx: Tx, case: Case) -> object:
    return read_snapshot(tx, case.lead, "https://contatto.example.com").values


def chat_fields(tx: Tx, case: Case) -> object:
    return chat_data(case.lead, list_outgoing_points(tx, case.business_id, {case.lead.id})[case.lead.id])


def leads_file(tx: Tx, case: Case) -> object:
    return read_leads(case.business_id, LeadFilter(), [case.lead.id], None, tx)


def form_file(tx: Tx, case: Case) -> object:
    return lead_table(case.version, list_form_entries(tx, case.version, ""), with_chat=False)


def webhooks(tx: Tx, case: Case) -> object:
    lead, of, url = case.lead, case.business_id, "https://example.com/hook"
    account = add_ad_account(tx, BusinessId(of), NewAdAccount("Main", "MY", "MYR", "Asia/Kuala_Lumpur"))
    for source in LeadSource:
        new = NewSubscription(Entity.LEAD, "app", "secret", url, account.id, source.value)
        subscribe_program(tx, of, new)
    subscribe_hook(tx, of, Entity.LEAD_CREATED, url)
    captured = LeadCaptured(of, lead.id, lead.conversation_id, "chat", ("phone",), make.NOON)
    push_lead(tx, captured)
    push_hooks(tx, captured)
    push_form_lead(tx, FormSubmitted(of, case.version.form_id, case.answer.id, "", lead.id))
    rows = tx.execute(select(pushes.c.id, pushes.c.body).where(pushes.c.business_id == of)).all()
    assert len(rows) == 3
    return [tx.vault.open(row.body, of, "pushes.body", str(row.id)) for row in rows]


@pytest.mark.parametrize("way_out", [crm, chat_fields, leads_file, form_file, webhooks])
def test_a_number_that_is_marked_wrong_leaves_by_no_way(
    database: Database, case: Case, way_out: Callable[[Tx, Case], object]
) -> None:
    text = json.dumps(database.write_now(lambda tx: way_out(tx, case)), default=str)
    assert WRONG not in text
    assert RIGHT in text or way_out is form_file


def test_a_number_that_is_corrected_leaves_again(database: Database, case: Case) -> None:
    database.write_now(
        lambda tx: change_contact_point(
            tx, case.actor, case.lead.id, (case.wrong.id, WRONG), "save", CORRECTED
        )
    )
    values = database.read_now(lambda tx: read_snapshot(tx, case.lead, "").values)
    assert set(values["phone"].split(", ")) == {RIGHT, CORRECTED}


def test_only_pages_of_members_read_contact_details_that_may_be_wrong() -> None:
    root = Path(str(contatto.__file__)).parent
    readers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\blist_contact_points\(", path.read_text(encoding="utf-8"))
    }
    assert {reader for reader in readers if not reader.startswith("leads/")} == READS_ALL
