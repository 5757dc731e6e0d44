"""Members are told of what they chose, while no page is open, and of nothing that they may not read."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from contatto.accounts import actions as accounts
from contatto.accounts.model import Member, Role
from contatto.alerts import actions, store
from contatto.alerts.model import AlertChoices, AlertKind
from contatto.alerts.store import alert_choices
from contatto.channels.actions import set_access_token
from contatto.channels.model import ChannelLost, MessageKind, Sender
from contatto.inbox.actions.threads import set_reply_target
from contatto.inbox.model import Message
from contatto.inbox.store.conversations import append_messages, conversations
from contatto.inbox.store.messages import find_first_answer
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, row_of
from contatto.kit.ids import new_id
from contatto.leads.actions.annotations import add_task, assign_lead
from contatto.leads.model import Actor, LeadCaptured
from contatto.leads.store.records import find_lead
from contatto.mail import mails
from tests import make
from tests.inbox.incoming import received, take
from tests.journeys.running import House, message, running_house, until
from tests.mailbox import Mailbox, running_mailbox, text_of
from tests.people.conftest import Person, add_member
from tests.quoting import quotes
from tests.unchanged import all_rows, nothing_changes

MEI = "mei@example.com"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("alerted")
    sender = "Contatto <contatto@kopi.example.com>"
    with running_house(folder, smtp_url=mailbox.url, mail_from=sender) as running:
        yield running


def choose(house: House, member: Member, **wanted: object) -> None:
    chosen = AlertChoices(member.business_id, member.id, **wanted)  # type: ignore[arg-type]
    house.context.db.write_now(lambda tx: tx.save(alert_choices, row_of(chosen)))


def write(house: House, text: str, user: str) -> None:
    now_ms = int(house.context.clock.now().timestamp() * 1000)
    assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200


def answer(house: House, path: str) -> None:
    """An answer five minutes after a lead wrote, as its platform tells of it."""

    def say(tx: Tx) -> None:
        lead = find_lead(tx, house.business_id, path.rpartition("/")[2])
        assert lead is not None
        known = find_first_answer(tx, house.business_id, lead.conversation_id)
        assert known is not None
        at = known[0] + timedelta(minutes=5)
        said = Message(0, new_id(), lead.conversation_id, Sender.BUSINESS, MessageKind.TEXT, "Hi", "Mei", at)
        append_messages(tx, [(house.business_id, said)])

    house.context.db.write_now(say)


def test_a_lead_arrives_while_no_page_is_open_and_the_mail_is_there(house: House, mailbox: Mailbox) -> None:
    choose(house, add_member(house, MEI), mailed=("lead",))
    write(house, "my number is +65 8123 4567", "anna")
    mail = mailbox.next_to(MEI)
    assert mail["Subject"] == "A new lead · Kopi and Co"
    link = next(line for line in text_of(mail).splitlines() if "/leads/" in line)
    assert not quotes(text_of(mail), "81234567")
    person = Person(house)
    person.log_in(MEI)
    path = link.removeprefix("http://127.0.0.1:8000")
    page = person.open(path)
    assert "+6581234567" in page
    assert "No reply yet" in page
    answer(house, path)
    assert "First reply after 5 min" in person.open(path)


def test_messages_that_follow_each_other_are_one_mail(house: House, mailbox: Mailbox) -> None:
    ana = add_member(house, "ana@example.com")
    choose(house, ana, mailed=("message",))
    for number in range(3):
        write(house, f"hello {number}", "bert")
    assert "/inbox/" in text_of(mailbox.next_to("ana@example.com"))
    done = select(func.count()).where(conversations.c.unread >= 3)
    assert until(lambda: house.context.db.read_now(lambda tx: tx.scalar(done)))
    told = [row for row in all_rows(house.context.db)["alerts"] if ana.id in row]
    assert 1 <= len(told) <= 2  # two where a quarter of an hour ends meanwhile


def test_a_member_chooses_on_the_page(house: House) -> None:
    add_member(house, "joe@example.com")
    joe = Person(house)
    joe.log_in("joe@example.com")
    form = {"mailed": "lead", "digested": "message", "shown": "lead", "has_sound": "true",
            "quiet_from": "1320", "quiet_until": "420", "digest_at": "480"}  # fmt: skip
    assert joe.send("/settings/alerts", page="/settings/alerts", **form).status_code == 303
    told = joe.client.get("/alerts/choices").json()
    assert (told["shown"], told["sound"]) == (["lead"], True)
    assert "channel" not in joe.open("/settings/alerts").partition("<tbody>")[2].partition("</tbody>")[0]
    with nothing_changes(house.context.db):
        for wrong in ({"mailed": "weather"}, {"quiet_from": "1440"}, {"digest_at": "-1"}):
            assert joe.send("/settings/alerts", page="/settings/alerts", **(form | wrong)).status_code == 422


@pytest.fixture
def shop(database: Database) -> tuple[str, Member, Member]:
    """A business with an owner and an agent."""

    def build(tx: Tx) -> tuple[str, Member, Member]:
        business = make.business(tx)
        agent = make.member(tx, business.id, MEI, Role.AGENT, "Mei")
        return business.id, make.member(tx, business.id), agent

    return database.write_now(build)


def wants(tx: Tx, member: Member, *kinds: str) -> None:
    tx.save(alert_choices, row_of(AlertChoices(member.business_id, member.id, mailed=kinds)))


def captured(tx: Tx, business_id: str) -> LeadCaptured:
    lead = make.lead(tx, business_id, person_id=new_id())
    return LeadCaptured(business_id, lead.id, "", "chat", ("phone",), tx.now)


def mailed(database: Database) -> int:
    """The mails that wait after the alerts that are due were gathered."""

    def count(tx: Tx) -> int:
        actions.mail_due_alerts(tx, "https://x.example.com")
        return len(tx.execute(mails.select()).all())

    return database.write_now(count)


def test_the_same_lead_is_told_once(database: Database, shop: tuple[str, Member, Member]) -> None:
    """Also to the next process, which finds the same event."""
    business_id, _, mei = shop

    def tell(tx: Tx) -> LeadCaptured:
        wants(tx, mei, "lead")
        event = captured(tx, business_id)
        actions.alert_lead(tx, event)
        return event

    event = database.write_now(tell)
    assert mailed(database) == 1
    database.write_now(lambda tx: actions.alert_lead(tx, event))
    assert mailed(database) == 1


@pytest.mark.parametrize("how", ["deactivated", "other role"])
def test_who_may_not_read_it_any_more_gets_no_mail(
    database: Database, shop: tuple[str, Member, Member], how: str
) -> None:
    """Not even of what waited before."""
    business_id, _, mei = shop

    def tell(tx: Tx) -> None:
        wants(tx, mei, "lead")
        actions.alert_lead(tx, captured(tx, business_id))
        if how == "deactivated":
            accounts.deactivate_member(tx, mei)
        else:
            accounts.set_member_role(tx, mei, Role.ANALYST)
        actions.alert_lead(tx, captured(tx, business_id))

    database.write_now(tell)
    assert mailed(database) == 0


def test_nobody_is_told_of_another_business(database: Database, shop: tuple[str, Member, Member]) -> None:
    _, _, mei = shop

    def tell(tx: Tx) -> set[str]:
        other = make.business(tx, "Teh and Co")
        wants(tx, mei)
        assert store.list_alerted_businesses(tx) == set()
        wants(tx, mei, *AlertKind)
        actions.alert_lead(tx, captured(tx, other.id))
        return store.list_alerted_businesses(tx)

    assert database.write_now(tell) == {mei.business_id}
    assert mailed(database) == 0


def test_a_lead_that_is_given_to_somebody_is_told_of_but_not_one_s_own(
    database: Database, shop: tuple[str, Member, Member]
) -> None:
    business_id, owner, mei = shop

    def give(tx: Tx) -> None:
        first, second = (make.lead(tx, business_id, person_id=f"p{number}") for number in range(2))
        assign_lead(tx, Actor(business_id, owner.id, "Owner"), first.id, None, mei.id)
        assign_lead(tx, Actor(business_id, mei.id, "Mei"), second.id, None, mei.id)

    database.write_now(give)
    assert len([row for row in all_rows(database)["events"] if "work_assigned" in row]) == 1


def test_a_digest_waits_for_its_time(
    database: Database, shop: tuple[str, Member, Member], clock: FixedClock
) -> None:
    business_id, _, mei = shop

    def tell(tx: Tx) -> None:
        chosen = AlertChoices(business_id, mei.id, digested=("lead",), digest_at=13 * 60)
        tx.save(alert_choices, row_of(chosen))
        for _ in range(3):
            actions.alert_lead(tx, captured(tx, business_id))

    database.write_now(tell)
    assert mailed(database) == 0
    clock.advance(hours=1)
    assert mailed(database) == 1


def test_a_task_is_told_of_on_its_day_to_the_owner_of_its_lead(
    database: Database, shop: tuple[str, Member, Member], clock: FixedClock
) -> None:
    business_id, owner, mei = shop

    def plan(tx: Tx) -> None:
        lead = make.lead(tx, business_id)
        actor = Actor(business_id, owner.id, "Owner")
        assign_lead(tx, actor, lead.id, None, mei.id)
        add_task(tx, actor, lead.id, "Call", (tx.now + timedelta(days=1)).date())
        for member in (owner, mei):
            wants(tx, member, "task")

    database.write_now(plan)
    assert database.write_now(actions.alert_due_tasks) == 0
    clock.advance(days=1)
    assert database.write_now(actions.alert_due_tasks) == 1
    assert database.write_now(actions.alert_due_tasks) == 0
    assert mailed(database) == 1
    assert len([row for row in all_rows(database)["events"] if "alert_raised" in row]) == 1


def test_a_customer_who_waits_too_long_is_told_of_once_and_who_was_answered_is_not(
    database: Database, clock: FixedClock
) -> None:
    """The business sets how long that is; without it nobody is alarmed."""

    def build(tx: Tx) -> make.Shop:
        shop = make.shop(tx)
        for member in (make.member(tx, shop.business_id), make.member(tx, shop.business_id, MEI, Role.AGENT)):
            wants(tx, member, "waiting")
        return shop

    shop = database.write_now(build)
    take(database, shop, received("Hello?"))
    clock.advance(minutes=31)
    assert database.write_now(actions.alert_waiting_chats) == 0
    database.write_now(lambda tx: set_reply_target(tx, shop.business_id, 30))
    assert database.write_now(actions.alert_waiting_chats) == 2
    assert database.write_now(actions.alert_waiting_chats) == 0
    assert mailed(database) == 2


def test_a_token_that_is_refused_is_told_once_to_who_can_put_it_right(database: Database) -> None:
    def build(tx: Tx) -> ChannelLost:
        shop = make.shop(tx)
        for member in (make.member(tx, shop.business_id), make.member(tx, shop.business_id, MEI, Role.AGENT)):
            wants(tx, member, "channel")
        set_access_token(tx, shop.business_id, shop.tiktok.id, "old")
        return ChannelLost(shop.business_id, shop.tiktok.id)

    lost = database.write_now(build)
    for _ in range(2):
        database.write_now(lambda tx: actions.alert_channel(tx, lost))
    assert mailed(database) == 1


def test_alerts_that_are_long_told_are_deleted(
    database: Database, shop: tuple[str, Member, Member], clock: FixedClock
) -> None:
    business_id, _, mei = shop

    def tell(tx: Tx) -> None:
        wants(tx, mei, "lead")
        actions.alert_lead(tx, captured(tx, business_id))

    database.write_now(tell)
    assert mailed(database) == 1
    clock.advance(days=30)
    assert database.write_now(actions.purge_alerts) == 0
    clock.advance(seconds=1)
    assert database.write_now(actions.purge_alerts) == 1
