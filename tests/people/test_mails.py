"""Mails go through the outbound machine: sealed while they wait, tried again, forgotten once sent."""

import pytest
from pydantic import ValidationError

from contatto.kit.outbound.model import Done, Failed, HttpAnswer, NotNow
from contatto.kit.settings import Settings
from contatto.mail import NewMail, queue_mail, read_reply
from tests.journeys.running import House, until
from tests.mailbox import Mailbox, text_of
from tests.people.conftest import MEI
from tests.unchanged import all_rows


def queue(house: House, subject: str = "Hello", to: str = MEI) -> None:
    house.context.db.write_now(
        lambda tx: queue_mail(tx, NewMail(house.business_id, to, subject, "Grüße 你好\n"))
    )


def waiting(house: House) -> int:
    return len(all_rows(house.context.db)["mails"])


def test_a_mail_arrives_as_it_was_written_and_nothing_of_it_stays(house: House, mailbox: Mailbox) -> None:
    queue(house)
    mail = mailbox.next_to(MEI)
    assert (mail["Subject"], mail["From"]) == ("Hello", "Contatto <contatto@kopi.example.com>")
    assert text_of(mail).strip() == "Grüße 你好"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert until(lambda: waiting(house) == 0)


def test_a_mail_that_waits_is_sealed(silent_house: House) -> None:
    """Without a mail server it is a dead letter at once, which an admin sees and may dismiss."""
    queue(silent_house)
    assert "你好" not in str(all_rows(silent_house.context.db))
    assert MEI not in str(all_rows(silent_house.context.db)["mails"])


def test_a_mailbox_that_does_not_exist_is_told_and_not_tried_again(house: House, mailbox: Mailbox) -> None:
    mailbox.refusals.append("550 no such mailbox")
    queue(house)
    found = until(lambda: [row for row in all_rows(house.context.db)["jobs"] if "'dead'" in row])
    assert "'550'" in found[0]
    assert waiting(house) == 1


def test_a_server_that_is_busy_is_asked_again_later(house: House, mailbox: Mailbox) -> None:
    mailbox.refusals.append("451 come again")
    queue(house)
    assert until(lambda: [row for row in all_rows(house.context.db)["jobs"] if "'451'" in row])
    assert waiting(house) == 1


@pytest.mark.parametrize(("code", "step"), [(250, Done()), (451, NotNow("451")), (550, Failed("550"))])
def test_a_reply_code_means_what_the_standard_says(code: int, step: object) -> None:
    assert read_reply(HttpAnswer(code, {}, b"")) == step


def test_no_subject_becomes_a_header(house: House, mailbox: Mailbox) -> None:
    queue(house, "Hi\r\nBcc: all@example.com")
    mail = mailbox.next_to(MEI)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hi Bcc: all@example.com"


@pytest.mark.parametrize("wrong", ["mail.example.com", "http://mail.example.com", "smtp://"])
def test_a_mail_server_is_named_by_its_address(wrong: str) -> None:
    with pytest.raises(ValidationError, match="smtp"):
        Settings(smtp_url=wrong, mail_from="c@example.com")
    with pytest.raises(ValidationError, match="mail_from"):
        Settings(smtp_url="smtps://mail.example.com")
