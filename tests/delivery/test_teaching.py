"""What delivery makes of what becomes of its ads: who is learned as a lead, and what learning may cost."""

import random

import msgspec

from contatto.learning.columns import CLICK
from contatto.learning.features import name_hash
from contatto.learning.market import UNITS
from contatto.learning.marketplace import Marketplace
from contatto.learning.model import AnyLine
from tests.delivery.small_world import BEGINS, SECOND, Line, set_up

MINUTE = 60 * SECOND
decode = msgspec.json.Decoder(AnyLine.__value__).decode


def tell(marketplace: Marketplace, line: Line) -> Line | None:
    answer = marketplace.take(decode(msgspec.json.encode(line)))
    return None if answer is None else msgspec.to_builtins(answer)


def ask_for(marketplace: Marketplace, number: int, ts: int, viewer: str, kind: str, floor: int) -> Line:
    line = {"type": "request", "ts": ts, "request_id": f"r{number}", "viewer_id": viewer, "country": "IT"}
    answer = tell(marketplace, {**line, "features": {"kind": kind}, "floor_micros": floor})
    assert answer is not None
    return answer


def test_who_leaves_a_contact_in_a_spam_chat_is_not_learned_as_a_lead_whatever_comes_first() -> None:
    marketplace = Marketplace(1)
    for line in set_up(1, goal="lead", budget_mode="infinite"):
        tell(marketplace, line)
    ts, estimates, contacts = BEGINS, {"good": 0.0, "spam first": 0.0, "contact first": 0.0}, 0
    for number in range(360):
        kind = list(estimates)[number % 3]
        viewer = f"v{number}"
        ts += 20 * MINUTE
        answer = ask_for(marketplace, number, ts, viewer, kind, 100)
        estimates[kind] = answer["p_lead"]
        if answer["ad_id"] is None:
            continue
        contacts += 1
        told = {"viewer_id": viewer, "advertiser_id": "advertiser 0"}
        for what in ("view", "click"):
            tell(marketplace, {"type": what, "ts": ts, "request_id": answer["request_id"]})
        tell(marketplace, {"type": "conversation", "ts": ts + MINUTE, **told})
        after = {"good": ["lead"], "spam first": ["spam", "lead"], "contact first": ["lead", "spam"]}[kind]
        for step, what in enumerate(after):
            tell(marketplace, {"type": what, "ts": ts + (2 + step) * MINUTE, **told})
    odds = {kind: estimate / (1.0 - estimate) for kind, estimate in estimates.items()}
    assert odds["spam first"] < 0.25 * odds["good"]
    assert odds["contact first"] < 0.25 * odds["good"]
    report = tell(marketplace, {"type": "report", "ts": marketplace.market.now, "ask_id": "a"})
    assert report is not None
    assert report["adgroups"][0]["leads"] == contacts


def test_names_of_single_requests_do_not_drive_those_of_features_out_of_memory() -> None:
    marketplace = Marketplace(1)
    for line in set_up(1, goal="lead", budget_mode="infinite"):
        tell(marketplace, line)
    hashed = []
    for number in range(200):
        ts = BEGINS + number * MINUTE
        answer = ask_for(marketplace, number, ts, f"v{number % 5}", "any", 100)
        if answer["ad_id"] is not None:
            tell(marketplace, {"type": "view", "ts": ts, "request_id": answer["request_id"]})
        hashed.append(name_hash.cache_info().misses)
    assert marketplace.market.calibration.tried[0, CLICK] > 50
    assert hashed[-1] - hashed[99] < 10


def test_an_ad_group_that_finds_no_leads_spends_ever_less_on_learning() -> None:
    marketplace = Marketplace(1)
    target = 400_000
    for line in set_up(1, goal="lead", budget_mode="infinite", bid_type="custom", bid_micros=target):
        tell(marketplace, line)
    chance = random.Random(3)  # noqa: S311 — seeded
    group = marketplace.market.groups.groups[0]
    for number in range(6 * 720):
        ts = BEGINS + number * 2 * MINUTE
        floor = round(20_000_000 * chance.uniform(0.5, 2.0))
        answer = ask_for(marketplace, number, ts, f"v{number % 300}", "any", floor)
        if answer["ad_id"] is not None:
            tell(marketplace, {"type": "view", "ts": ts, "request_id": answer["request_id"]})
    assert group.spent_ever > 0  # it does learn
    assert (
        group.spent_ever / UNITS < 10 * target
    )  # with the same budget every day it would be 17 times the target


def test_who_becomes_a_lead_again_in_a_later_conversation_is_counted_and_learned_again() -> None:
    marketplace = Marketplace(1)
    for line in set_up(1, goal="lead", budget_mode="infinite"):
        tell(marketplace, line)
    ts, chats, known, strange = BEGINS, 0, 0.0, 0.0
    for number in range(300):
        viewer = f"v{number % 20}"
        ts += 20 * MINUTE
        answer = ask_for(marketplace, number, ts, viewer, "any", 100)
        known = answer["p_lead"]
        if answer["ad_id"] is None:
            continue
        chats += 1
        told = {"viewer_id": viewer, "advertiser_id": "advertiser 0"}
        for what in ("view", "click"):
            tell(marketplace, {"type": what, "ts": ts, "request_id": answer["request_id"]})
        tell(marketplace, {"type": "conversation", "ts": ts + MINUTE, **told})
        for step in (2, 3):
            lead = {"type": "lead", "ts": ts + step * MINUTE, "source": "chat", **told}
            tell(marketplace, lead)
    strange = ask_for(marketplace, 1_000, ts + 20 * MINUTE, "nobody", "any", 100)["p_lead"]
    report = tell(marketplace, {"type": "report", "ts": marketplace.market.now, "ask_id": "a"})
    assert report is not None
    assert report["adgroups"][0]["leads"] == chats > 200
    assert known > 0.9 * strange > 0.5


def test_a_lead_that_comes_after_that_of_a_later_conversation_belongs_to_the_earlier_one() -> None:
    marketplace = Marketplace(1)
    for line in set_up(1, goal="lead", budget_mode="infinite"):
        tell(marketplace, line)
    told, ts = {"viewer_id": "v", "advertiser_id": "advertiser 0"}, BEGINS
    names: list[str] = []
    while len(names) < 2:
        ts += 20 * MINUTE
        answer = ask_for(marketplace, ts // MINUTE, ts, "v", "any", 100)
        if answer["ad_id"] is not None:
            names.append(answer["request_id"])
            for what in ("view", "click"):
                tell(marketplace, {"type": what, "ts": ts, "request_id": names[-1]})
            tell(marketplace, {"type": "conversation", "ts": ts + MINUTE, **told})
    for step, source in enumerate(("chat", "marked", "chat", "chat")):
        tell(marketplace, {"type": "lead", "ts": ts + (2 + step) * MINUTE, "source": source, **told})
    market = marketplace.market
    came = [market.records.shown[name] for name in names]
    assert [each.lead_at - ts for each in came if each is not None] == [4 * MINUTE, 2 * MINUTE]
    assert market.groups.groups[0].leads == 2
