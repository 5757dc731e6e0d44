"""Weighing words and signs: what reads like marked chats is found, and nothing but numbers is kept."""

import random

import numpy as np

from contatto.spam.model import SUSPICIOUS, Chat, Mark, Rate, Sign, SpamVerdict
from contatto.spam.rules import MANY_TAPS, SpamWeights, fit_weights, hash_ngrams, judge_chat, score_text
from tests import make

BAD = [
    "win",
    "free",
    "prize",
    "claim",
    "now",
    "at",
    "http://prize.example.com",
    "cash",
    "bonus",
    "90210",
    "call",
    "URGENT",
]
GOOD = [
    "hello",
    "can",
    "I",
    "come",
    "on",
    "Saturday",
    "what",
    "does",
    "the",
    "kitchen",
    "cost",
    "is",
    "it",
    "in",
    "stock",
    "thanks",
]
CHAT = Chat("business", "chat", "account", "hello")


def text(chance: random.Random, words: list[str]) -> str:
    return " ".join(chance.choices(words, k=8)) + " " + " ".join(chance.choices(GOOD + BAD, k=2))


def learned(chance: random.Random, count: int = 30) -> SpamWeights:
    texts = [text(chance, words) for words in (BAD, GOOD) for _ in range(count)]
    return fit_weights([hash_ngrams(each) for each in texts], [True] * count + [False] * count)


def test_what_reads_like_marked_chats_is_told_from_what_does_not() -> None:
    chance = random.Random(4)  # noqa: S311 — seeded
    weights = learned(chance)
    bad = [score_text(weights, hash_ngrams(text(chance, BAD))) for _ in range(50)]
    good = [score_text(weights, hash_ngrams(text(chance, GOOD))) for _ in range(50)]
    assert min(bad) > 0.0 > max(good)
    assert score_text(weights, hash_ngrams("W1N a PR1ZE, claim your free cash bonus")) > 0.0


def test_the_same_marks_give_the_same_weights_and_any_text_is_read() -> None:
    one, other = (learned(random.Random(9)) for _ in range(2))  # noqa: S311 — seeded
    assert np.array_equal(one.weights, other.weights)
    for strange in ("", " ", "\ud800", "ｗｉｎ 赢奖 🎁", "x" * 100_000):
        assert np.isfinite(score_text(one, hash_ngrams(strange)))


def test_signs_add_to_what_the_words_say() -> None:
    rate = Rate(5, 100)
    fine, none = judge_chat(CHAT, -4.0, rate, rate)
    assert fine < 0.05
    assert none == ()
    tapping = Chat("business", "chat", "account", "hello", has_marked=True, taps=MANY_TAPS)
    worse, signs = judge_chat(tapping, -4.0, rate, rate)
    assert worse > 0.5
    assert signs == (Sign.PERSON, Sign.TAPS)
    flooded, signs = judge_chat(CHAT, 1.0, Rate(60, 100), rate)
    assert flooded > judge_chat(CHAT, 1.0, rate, rate)[0]
    assert signs == (Sign.WORDS, Sign.ACCOUNT)


def test_before_there_are_marks_nothing_is_suspected_by_its_words() -> None:
    chance, signs = judge_chat(CHAT, None, Rate(), Rate())
    assert chance < 0.1
    assert signs == ()


def test_who_was_marked_is_no_longer_suspected() -> None:
    judged = SpamVerdict("business", "chat", "account", 0.9, (Sign.WORDS,), Mark.NONE, make.NOON)
    assert judged.is_suspicious
    marked = (
        SpamVerdict("business", "chat", "account", 0.9, (Sign.WORDS,), mark, make.NOON) for mark in Mark
    )
    assert [each.is_suspicious for each in marked] == [True, False, False]
    assert not SpamVerdict("business", "chat", "account", 0.9, (), Mark.NONE, make.NOON).is_suspicious


def test_where_no_chat_is_marked_none_looks_like_spam_whatever_else_is_known() -> None:
    for chats in (0, 1, 30, 100_000):
        chat = Chat("business", "chat", "account", "text", has_marked=False, taps=10_000)
        judged = judge_chat(chat, None, Rate(0, chats), Rate(0, chats))
        assert judged[0] < SUSPICIOUS
