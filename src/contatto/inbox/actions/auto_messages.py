"""Automatic messages of an account one by one, as the API works on them; they are kept as a whole."""

from dataclasses import replace
from typing import Final

from contatto.channels.model import ChannelAccount
from contatto.inbox.actions.automatic import keep_account_automatic
from contatto.inbox.model import AutomaticKind, AutomaticMessages, PreparedReply
from contatto.inbox.store.automatic import find_automatic
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement.rules import natural_number

_LISTS: Final = {AutomaticKind.QUESTION: "questions", AutomaticKind.PROMPT: "prompts"}
_PARTS: Final = {AutomaticKind.WELCOME: "welcome", **_LISTS}


def load_automatic(tx: Tx, account: ChannelAccount) -> tuple[AutomaticMessages, int]:
    """The automatic messages of an account, and their revision."""
    return find_automatic(tx, account.business_id, account.id) or (AutomaticMessages(), 0)


def numbered_messages(
    account: ChannelAccount, content: AutomaticMessages, kind: AutomaticKind
) -> dict[int, PreparedReply]:
    """The messages of a kind by the API's ``auto_message_id``, in their order."""
    if kind is AutomaticKind.WELCOME:
        welcome = PreparedReply("", content.welcome)
        return {natural_number(account.id, kind, ""): welcome} if content.welcome else {}
    listed: tuple[PreparedReply, ...] = getattr(content, _LISTS[kind])
    return {each.number or natural_number(account.id, kind, each.ask): each for each in listed}


def add_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, new: PreparedReply) -> int:
    """Add a message and give its id; an account has one welcome message, and no question or prompt twice.

    Raises:
        Refused: INVALID beyond a limit, or for one that is there.
    """
    content, revision = load_automatic(tx, account)
    known = numbered_messages(account, content, kind)
    if any(each.ask == new.ask for each in known.values()):
        name = _PARTS[kind]
        raise Refused(
            errors.INVALID,
            "%(name)s: this account already has one. Update it, or delete it first.",
            name=name,
        )
    _keep(tx, account, content, revision, kind, [*known.values(), new])
    return natural_number(account.id, kind, new.ask)


def change_auto_message(
    tx: Tx, account: ChannelAccount, kind: AutomaticKind, number: int, new: PreparedReply
) -> None:
    """Change a message; it keeps its id and its place.

    Raises:
        Refused: NOT_FOUND; INVALID beyond a limit, or for one that is there.
    """
    content, revision = load_automatic(tx, account)
    known = _known(account, content, kind, number)
    if any(each.ask == new.ask for other, each in known.items() if other != number):
        raise Refused(errors.INVALID, "%(name)s: this account already has one.", name=_PARTS[kind])
    known[number] = replace(new, number=number)
    _keep(tx, account, content, revision, kind, list(known.values()))


def drop_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, number: int) -> None:
    """Take a message away.

    Raises:
        Refused: NOT_FOUND.
    """
    content, revision = load_automatic(tx, account)
    known = _known(account, content, kind, number)
    del known[number]
    _keep(tx, account, content, revision, kind, list(known.values()))


def sort_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, order: list[int]) -> None:
    """Put messages first, in the order that is given; the others follow as they were.

    Raises:
        Refused: NOT_FOUND.
    """
    content, revision = load_automatic(tx, account)
    known = numbered_messages(account, content, kind)
    for number in order:
        _known(account, content, kind, number)
    first = [known[number] for number in dict.fromkeys(order)]
    rest = [each for number, each in known.items() if number not in order]
    _keep(tx, account, content, revision, kind, [*first, *rest])


def turn_auto_messages(tx: Tx, account: ChannelAccount, kind: AutomaticKind, *, is_on: bool) -> None:
    """Turn all messages of a kind on or off; turned off they are kept."""
    content, revision = load_automatic(tx, account)
    off = {each for each in content.off if each != kind} | (set() if is_on else {kind.value})
    changed = replace(content, off=tuple(sorted(off)))
    keep_account_automatic(tx, account, changed, revision)


def _known(
    account: ChannelAccount, content: AutomaticMessages, kind: AutomaticKind, number: int
) -> dict[int, PreparedReply]:
    known = numbered_messages(account, content, kind)
    if number not in known:
        raise Refused(errors.NOT_FOUND, "auto_message_id: no message of this type has this id.")
    return known


def _keep(
    tx: Tx,
    account: ChannelAccount,
    content: AutomaticMessages,
    revision: int,
    kind: AutomaticKind,
    listed: list[PreparedReply],
) -> None:
    if kind is AutomaticKind.WELCOME:
        changed = replace(content, welcome=listed[-1].say if listed else "")
    elif kind is AutomaticKind.QUESTION:
        changed = replace(content, questions=tuple(listed))
    else:
        changed = replace(content, prompts=tuple(listed))
    keep_account_automatic(tx, account, changed, revision)
