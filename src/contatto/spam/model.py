"""Spam verdicts of chats, and the marks of members."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Mark(StrEnum):
    """Mark of a member on a chat."""

    NONE = "none"
    SPAM = "spam"
    FINE = "fine"
    """No spam."""


class Sign(StrEnum):
    """Reason why a chat looks like spam, the strongest first."""

    WORDS = "words"
    """It reads like chats that were marked."""
    PERSON = "person"
    """Another chat of this person was marked."""
    TAPS = "taps"
    """The person taps ads more often than people do."""
    ACCOUNT = "account"
    """Many chats of this account were marked."""


@dataclass(frozen=True, slots=True)
class Chat:
    """Chat to judge.

    ``taps`` are its person's clicks on ads in a day. ``has_marked`` reports whether another chat of the
    person was marked as spam.
    """

    business_id: str
    conversation_id: str
    channel_account_id: str
    text: str
    has_marked: bool = False
    taps: int = 0


@dataclass(frozen=True, slots=True)
class SpamVerdict:
    """Probability that a chat is spam (0 to 1), its signs, and a member's mark."""

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
        """Report whether the inbox shows it as possible spam: likely, and not marked yet."""
        return self.mark is Mark.NONE and bool(self.signs) and self.chance >= SUSPICIOUS


SUSPICIOUS: Final = 0.8
"""Chats from this probability on are shown as possible spam."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Number of chats marked as spam, and of all judged chats."""

    spam: int = 0
    chats: int = 0
