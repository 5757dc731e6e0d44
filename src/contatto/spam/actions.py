"""Spam verdicts on chats, marks of members, and the learning of words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.spam import store
from contatto.spam.model import Chat, Mark, Rate, SpamVerdict
from contatto.spam.rules import ENOUGH_MARKED, fit_weights, hash_ngrams, judge_chat, score_text

MOST_MARKED: Final = 400
"""Newest chats marked as spam, and newest marked as fine, from which words are learned."""
VERDICT_LOCK: Final = "judged chats"
"""Lock of the verdicts of a business, which a transaction takes before it reads them."""


def judge_chats(
    tx: Tx, business_id: str, chats: Sequence[Chat], rates: Mapping[str, Rate]
) -> list[SpamVerdict]:
    """Judge and save chats of a business; return those that became suspicious, or ceased to be.

    ``rates`` are those of its accounts, read in the same transaction.
    """
    weights = store.find_weights(tx, business_id)
    spam, total = sum(rate.spam for rate in rates.values()), sum(rate.chats for rate in rates.values())
    earlier_verdicts = store.list_verdicts(tx, business_id, [chat.conversation_id for chat in chats])
    verdicts, changed = list[SpamVerdict](), list[SpamVerdict]()
    for chat in chats:
        earlier = earlier_verdicts.get(chat.conversation_id)
        words = None if weights is None else score_text(weights, hash_ngrams(chat.text))
        account = rates.get(chat.channel_account_id, Rate())
        chance, signs = judge_chat(chat, words, account, Rate(spam, total))
        verdict = SpamVerdict(
            business_id, chat.conversation_id, chat.channel_account_id, chance, signs,
            earlier.mark if earlier else Mark.NONE, tx.now, earlier.marked_at if earlier else None,
        )  # fmt: skip
        verdicts.append(verdict)
        if verdict.is_suspicious != (earlier is not None and earlier.is_suspicious):
            changed.append(verdict)
    store.save_verdicts(tx, business_id, verdicts, earlier_verdicts)
    return changed


def mark_chat(tx: Tx, business_id: str, conversation_id: str, channel_account_id: str, mark: Mark) -> None:
    """Save a member's mark of a chat; the next learning run uses it."""
    tx.hold_key(VERDICT_LOCK, business_id)
    earlier_verdicts = store.list_verdicts(tx, business_id, [conversation_id])
    verdict = earlier_verdicts.get(conversation_id) or SpamVerdict(
        business_id, conversation_id, channel_account_id, 0.0, (), Mark.NONE, tx.now
    )
    marked_verdict = replace(verdict, mark=mark, marked_at=tx.now)
    store.save_verdicts(tx, business_id, [marked_verdict], earlier_verdicts)


def learn_words(tx: Tx, business_id: str, spam: Sequence[str], fine: Sequence[str]) -> bool:
    """Learn word weights from the texts of marked chats; return False while too few are marked."""
    if min(len(spam), len(fine)) < ENOUGH_MARKED:
        return False
    rows = [hash_ngrams(text) for text in (*spam, *fine)]
    weights = fit_weights(rows, [True] * len(spam) + [False] * len(fine))
    store.save_weights(tx, business_id, weights, tx.now)
    return True


def forget_verdicts(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> None:
    tx.hold_key(VERDICT_LOCK, business_id)
    removed = store.list_verdicts(tx, business_id, conversation_ids)
    tx.delete(store.chats, business_id, conversation_id=sorted(removed))
    store.record_counts(tx, business_id, [], removed.values())
