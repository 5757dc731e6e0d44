"""Consent and erasure: nothing leaves of who did not agree, and nothing more of who was erased."""

from sqlalchemy import select

from contatto.forms.model import ConsentReceipt, FormAnswer, FormVerdict
from contatto.forms.store import append_answers, consent_receipts
from contatto.integrations.model import ErasureState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.ids import new_id
from contatto.kit.outbound.queue import jobs
from contatto.leads.actions.annotations import erase_leads
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import Lead, LeadStatus
from contatto.signals.actions import schedule_signals
from contatto.signals.model import SIGNAL, ConsentRule
from contatto.signals.store import list_signal_erasures
from contatto.simulator.ad_platforms import LOST
from tests.crm.engine import claim
from tests.signals.engine import Side, begun, in_house, later, run_all


def say(tx: Tx, side: Side, lead: Lead, *, is_given: bool) -> None:
    """Answer a form's question for consent."""
    answer_id = new_id()
    answer = FormAnswer(
        id=answer_id, business_id=side.business_id, form_id="form-1", version_id="version-1", language="en",
        person_id=lead.person_id, channel_account_id=side.channel.id, conversation_id=lead.conversation_id,
        lead_id=lead.id, ad_id=None, verdict=FormVerdict.TAKEN, score=0, answers=(), at=tx.now,
    )  # fmt: skip
    append_answers(tx, [answer])
    text = "May we tell the platform?"
    receipt = ConsentReceipt(new_id(), side.business_id, answer_id, lead.person_id, "c1", is_given, text,
                             "hash", "", "en", tx.now)  # fmt: skip
    tx.insert(consent_receipts, row_of(receipt))
    schedule_signals(tx, side.business_id, lead.id)


def test_nothing_leaves_before_the_person_agreed_and_all_of_it_when_they_do(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx, consent=ConsentRule.REQUIRED)
        lead = side.lead(tx)
        run_all(tx, side)
        assert side.standing(tx) == [("captured", "withheld", "no_consent")]
        say(tx, side, lead, is_given=True)
        run_all(tx, side)
        assert side.platform.names == ["SubmitForm"]

    in_house(database, work)


def test_who_refuses_before_it_has_left_is_not_told_of(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        lead = side.lead(tx)
        say(later(tx, side, minutes=1), side, lead, is_given=False)
        run_all(tx, side)
        assert side.platform.requests == []
        assert side.standing(tx) == [("captured", "withheld", "no_consent")]

    in_house(database, work)


def erased(tx: Tx, side: Side) -> list[tuple[ErasureState, int]]:
    return [(each.state, each.sent) for each in list_signal_erasures(tx, side.business_id, side.account.id)]


def test_of_an_erased_person_nothing_leaves_and_what_had_left_is_told_as_such(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        early, late = side.lead(tx, "u1"), side.lead(tx, "u2")
        run_all(tx, side)
        change_lead_status(tx, side.business_id, early.id, LeadStatus.RAW, LeadStatus.QUALIFIED, "Ana")
        fresh = side.lead(tx, "u3")
        erase_leads(tx, side.business_id, [early, fresh], "Ana")
        run_all(tx, side)
        assert len(side.platform.counted) == 2, "nothing of them has left since"
        assert [each.lead_id for each in side.signals(tx)] == [late.id]
        assert sorted(erased(tx, side)) == [
            (ErasureState.FINISHED, 0),
            (ErasureState.UNSUPPORTED, 1),
        ]
        kept = tx.execute(select(jobs.c.subject).where(jobs.c.kind == SIGNAL))
        assert len(kept.scalars().all()) == 1, "what was to be sent is forgotten with the person"

    in_house(database, work)


def test_what_may_have_left_when_the_person_was_erased_counts_as_left(database: Database) -> None:
    def work(tx: Tx) -> None:
        side = begun(tx)
        side.platform.fates = [LOST]
        lead = side.lead(tx)
        run_all(tx, side)
        erase_leads(tx, side.business_id, [lead], "Ana")
        assert erased(tx, side) == [(ErasureState.UNSUPPORTED, 1)]
        assert claim(later(tx, side, hours=1)) == []

    in_house(database, work)
