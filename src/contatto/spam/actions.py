"""Judging chats, taking marks of members, and learning the words of marked chats."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from contatto.kit.db.tx import Tx
from contatto.spam import store
from contatto.spam.model import Chat, Judged, Mark, Rate
from contatto.spam.rules.judging import ENOUGH_MARKED, judge_chat
from contatto.spam.rules.words import fit_weights, pieces_of, score_text

MOST_MARKED: Final = 400
"""The words of so many chats of either kind are learned, the newest ones."""


def judge_chats(tx: Tx, business_id: str, some: Sequence[Chat], rates: Mapping[str, Rate]) -> list[Judged]:
    """Judge chats of a business as they stand; those that look otherwise than before come back.

    ``rates`` are those of its accounts. The business is held: see ``list_rates_to_judge``.
    """
    learned = store.find_weights(tx, business_id)
    whole = _sum_of(rates)
    before = store.list_judged(tx, business_id, [chat.conversation_id for chat in some])
    found, changed = list[Judged](), list[Judged]()
    for chat in some:
        known = before.get(chat.conversation_id)
        words = None if learned is None else score_text(learned, pieces_of(chat.text))
        account = rates.get(chat.channel_account_id, Rate())
        chance, signs = judge_chat(chat, words, account, whole)
        judged = Judged(
            business_id, chat.conversation_id, chat.channel_account_id, chance, signs,
            known.mark if known else Mark.NONE, tx.now, known.marked_at if known else None,
        )  # fmt: skip
        found.append(judged)
        if judged.is_suspicious != (known is not None and known.is_suspicious):
            changed.append(judged)
    store.save_judged(tx, business_id, found, before)
    return changed


def list_rates_to_judge(tx: Tx, business_id: str) -> dict[str, Rate]:
    """How many chats of each account were judged and marked, if any is marked as spam; hold the business.

    Before a business marks its first chat as spam none can look like it, so nothing is read and none held.
    """
    if not _sum_of(store.list_rates(tx, business_id)).spam:
        return {}
    _hold_judged(tx, business_id)
    return store.list_rates(tx, business_id)


def _hold_judged(tx: Tx, business_id: str) -> None:
    """Let nobody else judge or mark chats of a business before the end: to be held before they are read."""
    tx.hold_key("judged chats", business_id)


def _sum_of(rates: Mapping[str, Rate]) -> Rate:
    return Rate(sum(rate.spam for rate in rates.values()), sum(rate.chats for rate in rates.values()))


def mark_chat(tx: Tx, business_id: str, conversation_id: str, channel_account_id: str, mark: Mark) -> None:
    """Take what a member says of a chat; it is learned from soon."""
    _hold_judged(tx, business_id)
    before = store.list_judged(tx, business_id, [conversation_id])
    judged = before.get(conversation_id) or Judged(
        business_id, conversation_id, channel_account_id, 0.0, (), Mark.NONE, tx.now
    )
    store.save_judged(tx, business_id, [replace(judged, mark=mark, marked_at=tx.now)], before)


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
    _hold_judged(tx, business_id)
    store.delete_judged(tx, business_id, conversation_ids)
