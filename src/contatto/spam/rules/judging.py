"""How likely a chat is spam: its words, beside what is known of the person and of the account."""

import math
from typing import Final

from contatto.kit.logistic import chance_of
from contatto.spam.model import Chat, Rate, Sign

MANY_TAPS: Final = 10
"""Taps on ads in a day from which on nobody taps out of interest."""
ENOUGH_MARKED: Final = 20
"""So many chats of either kind must be marked before words are judged."""
_STEPS: Final = {Sign.PERSON: 2.5, Sign.TAPS: 2.0}
"""By how much a sign adds to the log-odds."""
_MUCH: Final = 0.7
_MOST: Final = 1.5
_LIKE: Final = Rate(1, 20)
"""What is believed of spam before anything was marked, as so many chats."""


def judge_chat(
    chat: Chat, words: float | None, account: Rate, business: Rate
) -> tuple[float, tuple[Sign, ...]]:
    """The chance that a chat is spam, and the signs that speak for it.

    Args:
        chat: the chat.
        words: the log-odds by its words; None as long as too few chats were marked.
        account: what was marked in the account that it came to.
        business: what was marked in all.
    """
    log_odds = _log_odds(business) if words is None else words
    signs = [Sign.WORDS] if words is not None and words > 0.0 else []
    for sign, holds in ((Sign.PERSON, chat.has_marked), (Sign.TAPS, chat.taps >= MANY_TAPS)):
        if holds:
            signs.append(sign)
            log_odds += _STEPS[sign]
    apart = min(max(_log_odds(account) - _log_odds(business), -_MOST), _MOST)
    if apart > _MUCH:
        signs.append(Sign.ACCOUNT)
    return chance_of(log_odds + apart), tuple(signs)


def _log_odds(rate: Rate) -> float:
    spam, chats = rate.spam + _LIKE.spam, rate.chats + _LIKE.chats
    return math.log(spam / max(chats - spam, 1))
