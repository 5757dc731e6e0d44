"""Judging chats, taking marks of members, and learning the words of marked chats."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.spam import store
from contatto.spam.model import Chat, Judged, Mark, Rate
from contatto.spam.rules.judging import ENOUGH_MARKED, judge_chat
from contatto.spam.rules.words import fit_weights, pieces_of, score_text

MOST_MARKED: Final = 400
"""The words of so many chats of either kind are learned, the newest ones."""


def judge_chats(tx: Tx, business_id: str, some: Sequence[Chat]) -> list[Judged]:
    """Judge chats of a business as they stand; those that look otherwise than before come back."""
    learned = store.find_weights(tx, business_id)
    rates = store.list_rates(tx, business_id)
    whole = Rate(sum(rate.spam for rate in rates.values()), sum(rate.chats for rate in rates.values()))
    changed = []
    for chat in some:
        before = store.find_judged(tx, business_id, chat.conversation_id)
        words = None if learned is None else score_text(learned, pieces_of(chat.text))
        account = rates.get(chat.channel_account_id, Rate())
        chance, signs = judge_chat(chat, words, account, whole)
        judged = Judged(
            business_id, chat.conversation_id, chat.channel_account_id, chance, signs,
            before.mark if before else Mark.NONE, tx.now, before.marked_at if before else None,
        )  # fmt: skip
        store.save_judged(tx, judged)
        if judged.is_suspicious != (before is not None and before.is_suspicious):
            changed.append(judged)
    return changed


def mark_chat(tx: Tx, business_id: str, conversation_id: str, channel_account_id: str, mark: Mark) -> None:
    """Take what a member says of a chat; it is learned from soon."""
    judged = store.find_judged(tx, business_id, conversation_id) or Judged(
        business_id, conversation_id, channel_account_id, 0.0, (), Mark.NONE, tx.now
    )
    store.save_judged(tx, replace(judged, mark=mark, marked_at=tx.now))


def learn_words(tx: Tx, business_id: str, spam: Sequence[str], fine: Sequence[str]) -> bool:
    """Learn from the texts of chats that were marked as spam or are fine; False while there are too few."""
    if min(len(spam), len(fine)) < ENOUGH_MARKED:
        return False
    rows = [pieces_of(text) for text in (*spam, *fine)]
    learned = fit_weights(rows, [True] * len(spam) + [False] * len(fine))
    store.save_weights(tx, business_id, learned, tx.now)
    return True


def forget_judged(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> None:
    """Forget what was found of chats that are erased."""
    store.delete_judged(tx, business_id, conversation_ids)
