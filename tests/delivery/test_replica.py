"""Copies of a published marketplace: decisions are made again from their records, bit for bit."""

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from contatto.learning.marketplace import AuctionRequest, Replica, name_stranger, new_marketplace, take_record
from contatto.learning.model import (
    NOBODY,
    AdGroupLine,
    AdLine,
    ClickLine,
    ConversationLine,
    LeadLine,
    Record,
    ViewLine,
)
from tests.delivery.played import replay_record

BEGINS = 1_767_225_600_000_000
SECOND = 1_000_000
LIVE: list[AdGroupLine | AdLine] = []
for number in (1, 2, 3):
    LIVE += [
        AdGroupLine(0, str(number), "business", budget_micros=None, countries=["SG"]),
        AdLine(0, str(10 * number), str(number), {"words": ["free", f"word{number}"], "form": True}),
        AdLine(0, str(10 * number + 1), str(number), {"words": ["new"], "length": number}),
    ]
ADS = [10, 11, 20, 21, 30, 31]


def ask(nonce: int, viewer: str = "v", ts: int = BEGINS, **features: Any) -> AuctionRequest:
    features = features or {"language": "en", "age": 30 + nonce % 7, "likes": ["tea", f"t{nonce % 3}"]}
    return AuctionRequest(nonce, ts, viewer, "SG", features, 1_000_000, ADS, {1: 9e6, 2: 9e6, 3: 9e6})


def learned(count: int = 600, seed: int = 3) -> tuple[bytes, list[Record]]:
    """A marketplace that was trained from decisions that a replica made, and these."""
    chance = random.Random(seed)  # noqa: S311 — seeded
    teacher, replica = new_marketplace(7), Replica(7)
    replica.set_live(LIVE)
    records = []
    for nonce in range(1, count):
        ts = BEGINS + nonce * 20 * SECOND
        viewer = NOBODY if nonce % 10 == 0 else f"viewer {chance.randrange(60)}"
        record = replica.decide(ask(nonce, viewer, ts))
        records.append(record)
        take_record(teacher, record)
        if not record.ad:
            continue
        teacher.take(ViewLine(ts + SECOND, str(nonce)))
        if chance.random() < 0.3:
            name_stranger(teacher.market, str(nonce))
            teacher.take(ClickLine(ts + 2 * SECOND, str(nonce)))
            if viewer != NOBODY and chance.random() < 0.5:
                teacher.take(ConversationLine(ts + 3 * SECOND, viewer, "business"))
                teacher.take(LeadLine(ts + 4 * SECOND, viewer, "business"))
    return teacher.save(), records


def same(left: Record, right: Record) -> bool:
    return msgspec.msgpack.encode(left) == msgspec.msgpack.encode(right)


def test_the_first_request_of_an_ad_group_without_history_gets_an_ad_at_the_floor() -> None:
    replica = Replica(7)
    replica.set_live(LIVE)
    alone = replace(ask(1), ads=[10, 11], available_micros={1: 9e6})
    record = replica.decide(alone)
    assert record.ad in (10, 11)
    assert record.price_micros == 1_000_000


def test_a_decision_is_made_again_bit_for_bit_from_its_model_and_its_record() -> None:
    saved, _ = learned()
    replica = Replica(7, 4, saved)
    replica.set_live(LIVE)
    late = AdLine(0, "40", "4", {"words": ["late"]})
    new: list[AdGroupLine | AdLine] = [AdGroupLine(0, "4", "business"), late]
    for nonce in range(10_000, 10_060):
        if nonce == 10_030:
            replica.set_live([*LIVE, *new])
            replica.set_multipliers({4: 5e9, 1: 3e9})
        viewer = NOBODY if nonce % 7 == 0 else f"viewer {nonce % 70}"
        asked = ask(nonce, viewer, BEGINS + 20_000 * SECOND + nonce * SECOND)
        if nonce >= 10_030:
            asked = replace(asked, ads=[*ADS, 40], available_micros={1: 9e6, 2: 9e6, 3: 9e6, 4: 9e6})
        record = replica.decide(asked)
        logged = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record)
        assert same(replay_record(7, saved, logged), record)
        assert record.ad


def test_a_replayed_decision_differs_when_anything_that_it_depended_on_does() -> None:
    saved, _ = learned()
    replica = Replica(7, 4, saved)
    replica.set_live(LIVE)
    record = replica.decide(ask(10_000, "viewer 5", BEGINS + 30_000 * SECOND))
    changed = msgspec.structs.replace
    for other in (
        changed(record, features={"language": "th"}),
        changed(record, ads=[each for each in record.ads if each != record.ad]),
        changed(record, history=replica.decide(ask(10_001, "nobody before", record.ts)).history),
    ):
        assert not same(replay_record(7, saved, other), record)
    assert not same(replay_record(7, learned(500, seed=4)[0], record), record)


def test_the_learner_keeps_the_features_as_they_were_where_the_decision_was_made() -> None:
    _, records = learned(300)
    teacher = new_marketplace(7)
    for record in records:
        take_record(teacher, record)
        shown = teacher.market.records.shown[str(record.nonce)]
        if record.shown is None:
            assert shown is None
            continue
        assert shown is not None
        kept, place = teacher.market.snapshots, shown.place
        count = int(kept.counts[place])
        assert kept.hashes[place, :count].tobytes() == record.shown.hashes
        assert kept.values[place, :count].tobytes() == record.shown.values
        assert (shown.price, shown.propensity) == (record.price_micros, record.propensity)
        assert teacher.market.groups.ad_ids[shown.ad] == str(record.ad)


def test_learning_the_same_records_again_gives_the_same_bytes() -> None:
    assert learned()[0] == learned()[0]


def test_a_record_that_comes_twice_is_learned_once() -> None:
    _, records = learned(50)
    once, twice = new_marketplace(7), new_marketplace(7)
    for record in records:
        take_record(once, record)
        take_record(twice, record)
        take_record(twice, record)
    assert once.save() == twice.save()


def test_without_consent_nothing_of_the_viewer_is_remembered() -> None:
    saved, records = learned()
    replica = Replica(7, 4, saved)
    replica.set_live(LIVE)
    first = replica.decide(ask(20_000, NOBODY, BEGINS + 40_000 * SECOND))
    for nonce in range(20_001, 20_020):
        replica.decide(ask(nonce, NOBODY, BEGINS + 40_000 * SECOND))
    last = replica.decide(ask(20_000, NOBODY, BEGINS + 40_000 * SECOND))
    assert last.history == first.history
    assert same(replay_record(7, saved, last), last), "the decisions between left something behind"
    assert {record.viewer for record in records if record.nonce % 10 == 0} == {NOBODY}


def test_viewers_without_consent_are_predicted_to_tap_as_often_as_they_do() -> None:
    chance = random.Random(5)  # noqa: S311 — seeded
    teacher, replica, predictions = new_marketplace(7), Replica(7), []
    for nonce in range(1, 3_001):
        if nonce % 300 == 0:
            replica = Replica(7, nonce, teacher.save())
        replica.set_live(LIVE)
        ts, is_known = BEGINS + nonce * 60 * SECOND, nonce % 5 > 0
        request = replace(ask(nonce, f"viewer {chance.randrange(300)}", ts), floor_micros=1)
        record = replica.decide(request if is_known else replace(request, viewer=NOBODY, features={}))
        take_record(teacher, record)
        if not record.ad:
            continue
        teacher.take(ViewLine(ts + SECOND, str(nonce)))
        if chance.random() < (0.3 if is_known else 0.1):
            name_stranger(teacher.market, str(nonce))
            teacher.take(ClickLine(ts + 2 * SECOND, str(nonce)))
        if nonce > 1_500 and not is_known:
            predictions.append(record.raw[0])
    assert len(predictions) > 100
    assert sum(predictions) / len(predictions) == pytest.approx(0.1, abs=0.05)


def test_a_tap_without_consent_is_credited_to_its_own_impression() -> None:
    teacher, replica = new_marketplace(7), Replica(7)
    replica.set_live(LIVE)
    for nonce in (1, 2, 3):
        ts = BEGINS + nonce * SECOND
        record = replica.decide(ask(nonce, NOBODY, ts))
        take_record(teacher, record)
        teacher.take(ViewLine(ts, str(nonce)))
    for nonce in (1, 2):
        name_stranger(teacher.market, str(nonce))
        teacher.take(ClickLine(BEGINS + 9 * SECOND, str(nonce)))
    who = teacher.market.records.shown["1"]
    assert who is not None
    viewer = list(teacher.market.viewers.by_id)[who.viewer]
    teacher.take(ConversationLine(BEGINS + 10 * SECOND, viewer, "business"))
    talked = [each.talked_at for each in teacher.market.records.shown.values() if each is not None]
    assert [bool(each) for each in talked] == [True, False, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -(10**18), True, None, [], ["a", "a"]])
def test_a_strange_feature_is_answered_and_replayed(value: Any) -> None:
    replica = Replica(7)
    replica.set_live(LIVE)
    record = replica.decide(ask(1, strange=value))
    assert same(replay_record(7, None, record), record)


def test_how_often_a_viewer_saw_an_ad_group_is_counted_at_once() -> None:
    replica = Replica(7)
    replica.set_live(LIVE)
    record = replica.decide(ask(1))
    assert replica.shown_lately("v", record.ad_group) == pytest.approx(1.0, abs=0.01)
    assert replica.shown_lately("somebody else", record.ad_group) == 0.0
