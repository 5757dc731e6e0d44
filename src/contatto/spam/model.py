"""Chats that were judged, and the marks of members."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Mark(StrEnum):
    """What a member said of a chat."""

    NONE = "none"
    SPAM = "spam"
    FINE = "fine"


class Sign(StrEnum):
    """Why a chat looks like spam, the strongest first."""

    WORDS = "words"
    """It reads like chats that were marked."""
    PERSON = "person"
    """Another chat of this person was marked."""
    TAPS = "taps"
    """The person taps ads more often than people do."""
    ACCOUNT = "account"
    """Much of what comes to this account was marked."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as it is judged: the words of the customer, and what is known of who wrote them.

    ``taps`` are their taps on ads in a day, ``has_marked`` whether another chat of theirs was marked as spam.
    """

    business_id: str
    conversation_id: str
    channel_account_id: str
    text: str
    has_marked: bool = False
    taps: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """How likely a chat is spam (0 to 1), by which signs, and what a member said of it."""

    business_id: str
    conversation_id: str
    channel_account_id: str
    chance: float
    signs: tuple[str, ...]
    mark: Mark
    judged_at: datetime
    marked_at: datetime | None = None

    @property
    def is_suspicious(self) -> bool:
        """Whether members are told that it looks like spam, as nobody has said anything yet."""
        return self.mark is Mark.NONE and bool(self.signs) and self.chance >= SUSPICIOUS


SUSPICIOUS: Final = 0.8
"""Chats that are likelier spam than this are shown as such."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many chats were marked as spam, and how many there are."""

    spam: int = 0
    chats: int = 0
