"""Making the welcome messages of an ad account."""

from dataclasses import dataclass

from contatto.accounts.model import AdAccount
from contatto.ads.model import WelcomeMessage
from contatto.ads.rules.messages import check_welcome
from contatto.ads.store import messages as store
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id, new_number


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
