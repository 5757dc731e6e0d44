"""Making the welcome messages of an ad account."""

from dataclasses import dataclass

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.model import WelcomeMessage
from contatto.ads.rules.goals import check_welcome
from contatto.ads.rules.typed import NEW_MESSAGE, AdForm, read_questions
from contatto.ads.store import list_welcome_messages
from contatto.forms.actions import find_published
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.numbers import read_number


@dataclass(frozen=True, slots=True)
class NewWelcome:
    """A welcome message to make; each question stands with its answer."""

    title: str
    content: str
    questions: tuple[tuple[str, str], ...]


def create_welcome_message(tx: Tx, account: AdAccount, new: NewWelcome) -> WelcomeMessage:
    """Make a welcome message; it may be used at once.

    Raises:
        Refused: INVALID.
    """
    content = new.content.strip()
    pairs = [(question.strip(), answer.strip()) for question, answer in new.questions]
    check_welcome(content, pairs)
    message = WelcomeMessage(
        id=new_id(),
        business_id=account.business_id,
        number=new_number(),
        ad_account_id=account.id,
        title=new.title.strip(),
        content=content,
        questions=tuple(question for question, _ in pairs),
        answers=tuple(answer for _, answer in pairs),
        created_at=tx.now,
    )
    store.save_welcome_message(tx, message)
    return message


_FIELDS = {"welcome_message.content": "welcome", "welcome_message.suggested_questions": "questions"}


def list_first_messages(tx: Tx, account: AdAccount) -> list[WelcomeMessage]:
    """The welcome messages of an ad account that an ad may open with, newest first."""
    return list_welcome_messages(tx, account.business_id, account.id)


def check_message(tx: Tx, account: AdAccount, auto_message_id: str) -> None:
    """Refuse a welcome message that the ad account does not have; an empty id names none.

    Raises:
        Refused: INVALID.
    """
    number = read_number(auto_message_id)
    welcome_messages = list_welcome_messages(tx, account.business_id, account.id, [number]) if number else []
    if auto_message_id and not welcome_messages:
        raise Refused(errors.INVALID, "auto_message_id: welcome message not found.")


def check_form(tx: Tx, business_id: str, page_id: str) -> None:
    """Refuse a form that the business has not published; an empty id names none.

    Raises:
        Refused: INVALID.
    """
    if page_id and find_published(tx, business_id, page_id) is None:
        raise Refused(errors.INVALID, "page_id: published form not found.")


def choose_first_message(tx: Tx, account: AdAccount, form: AdForm) -> str:
    """The ``auto_message_id`` that a form chooses; a message that was written in it is made.

    Raises:
        Refused: INVALID.
    """
    chosen = form.auto_message_id
    if chosen == NEW_MESSAGE:
        content = form.welcome.strip()
        try:
            welcome_message = create_welcome_message(
                tx,
                account,
                NewWelcome(content.splitlines()[0] if content else "", content, read_questions(form)),
            )
        except Refused as refused:
            raise _beside_its_field(refused) from refused
        return str(welcome_message.number)
    if chosen and chosen not in {str(one.number) for one in list_first_messages(tx, account)}:
        raise Refused(errors.INVALID, "auto_message_id: choose one from the list.")
    return chosen


def _beside_its_field(refused: Refused) -> Refused:
    """The API's name of a part of a message as the field of the form that holds it."""
    field = str(refused.values.get("field", ""))
    name = next(
        (
            field_of_form
            for field_of_message, field_of_form in _FIELDS.items()
            if field.startswith(field_of_message)
        ),
        field,
    )
    return Refused(refused.code, refused.text, **refused.values | {"field": name})
