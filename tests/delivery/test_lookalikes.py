"""Lookalikes: whom they take in, how much better these are, who sees ads for them, and who leaves them."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from contatto.ads import store as ads
from contatto.ads.model import NodeStatus
from contatto.audiences import store
from contatto.audiences.actions import NewAudience, create_audience, delete_audiences
from contatto.audiences.model import (
    Audience,
    AudienceKind,
    Fingerprint,
    Lookalike,
    LookalikeSize,
    LookalikeSpec,
)
from contatto.delivery import rules
from contatto.delivery.actions.ledger import forget_viewers
from contatto.delivery.actions.results import LookalikeFinder, list_known_viewers
from contatto.delivery.rules import LookalikeFilter, LookalikeMatch, choose_lookalikes
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.leads.model import ErasedPeople
from tests.delivery.learning import Market, add_market


def test_the_best_hundredth_twentieth_or_tenth_is_taken_in_with_its_lift_over_all() -> None:
    scores = {f"v{number:04}": number / 1_000 for number in range(1, 1_001)}
    found = {size: choose_lookalikes(scores, size, (), leads=10**9) for size in LookalikeSize}
    assert {size: len(each.viewers) for size, each in found.items()} == {
        LookalikeSize.NARROW: 10,
        LookalikeSize.BALANCED: 50,
        LookalikeSize.BROAD: 100,
    }
    narrow = found[LookalikeSize.NARROW]
    assert narrow.viewers[0] == "v1000"
    assert narrow.known == 1_000
    assert narrow.lift == pytest.approx(0.9955 / 0.5005)
    lifts = [found[size].lift or 0.0 for size in (LookalikeSize.NARROW, LookalikeSize.BROAD)]
    assert lifts[0] > lifts[1] > 1.0


def test_the_fewer_leads_the_scores_come_of_the_lower_and_the_wider_is_the_lift() -> None:
    scores = {f"v{number:04}": number**3 / 1_000 for number in range(1, 1_001)}
    found = [choose_lookalikes(scores, LookalikeSize.NARROW, (), leads) for leads in (0, 5, 50, 10**9)]
    lifts = [(each.low or 0.0, each.lift or 0.0, each.high or 0.0) for each in found]
    assert all(1.0 <= low < lift < high for low, lift, high in lifts)
    assert [lift for _, lift, _ in lifts] == sorted(lift for _, lift, _ in lifts)
    assert lifts[0][2] / lifts[0][0] > lifts[-1][2] / lifts[-1][0]
    assert len({each.viewers for each in found}) == 1


def test_who_cannot_be_reached_or_is_of_the_source_is_not_taken_in() -> None:
    scores = {f"v{number:03}": float(number) for number in range(200)}
    left_out = {"v199", "v198"}
    found = choose_lookalikes(scores, LookalikeSize.NARROW, left_out)
    assert found.viewers == ("v197", "v196")
    assert found.known == 197


def test_among_few_viewers_nobody_is_found() -> None:
    scores = {f"v{number}": 1.0 for number in range(rules.LEAST_KNOWN - 1)}
    assert choose_lookalikes(scores, LookalikeSize.BROAD, ()) == LookalikeMatch((), rules.LEAST_KNOWN - 1)


@pytest.mark.parametrize(
    ("spec", "country", "device", "is_in"),
    [
        ({}, "SG", "", True),
        ({"location_ids": ("1880251",)}, "sg", "", True),
        ({"location_ids": ("1733045", "no place")}, "SG", "", False),
        ({"location_ids": ("no place",)}, "SG", "", False),
        ({"mobile_os": "IOS"}, "SG", "iPhone 15", True),
        ({"mobile_os": "IOS"}, "SG", "Android phone", False),
        ({"mobile_os": "ANDROID"}, "SG", "Android phone", True),
        ({"mobile_os": "ANDROID"}, "SG", "phone", True),
        ({"mobile_os": "ANDROID"}, "SG", "", True),
        ({"mobile_os": "ANDROID"}, "SG", "desktop", False),
    ],
)
def test_places_and_systems_leave_out_who_was_last_elsewhere(
    spec: dict[str, Any], country: str, device: str, is_in: bool
) -> None:
    asked = LookalikeSpec(audience_size=LookalikeSize.BROAD, **spec)
    assert LookalikeFilter(asked).takes(country, device) is is_in


@pytest.fixture
def market(database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Market:
    """A business whose viewers become leads where they like tea; every second of these did."""
    monkeypatch.setattr(rules, "LEAST_KNOWN", 20)
    made = add_market(database, clock)
    for number in range(48):
        likes_tea = number % 2 == 0
        if number == 46:
            made.clock.advance(hours=1)  # a training is due
        (served,) = made.ask(1, features={"drink": "tea" if likes_tea else "water"})
        made.see(served)
        if number % 4 == 0:
            made.talk(made.tap(served))
    made.train()
    return made


def add_lookalike(market: Market, **spec: object) -> Audience:
    account = market.world.ad_account

    def work(tx: Tx) -> Audience:
        rule = json.dumps({"audience_type": "LEAD_GENERATION"})
        source = create_audience(tx, account, NewAudience("Leads", AudienceKind.RULE, spec=rule))
        asked = {"source_audience_id": str(source.number), "audience_size": "BROAD", **spec}
        return create_audience(
            tx, account, NewAudience("Like leads", AudienceKind.LOOKALIKE, spec=json.dumps(asked))
        )

    return market.db.write_now(work)


def find(market: Market) -> int:
    """Look for all that are due; say how many ad accounts these were of."""
    finder, before = LookalikeFinder(), search_times(market)
    while (keep := market.db.read_now(finder.read_next)) is not None:
        market.db.write_now(keep)
    return len({account for account, *_ in search_times(market) - before})


def search_times(market: Market) -> set[tuple[Any, ...]]:
    columns = (store.audiences.c.ad_account_id, store.audiences.c.id, store.lookalikes.c.found_at)
    joined = store.audiences.join(store.lookalikes, store.lookalikes.c.audience_id == store.audiences.c.id)
    rows = select(*columns).select_from(joined)
    return market.db.read_now(lambda tx: {tuple(row) for row in tx.execute(rows)})


def members(market: Market, audience: Audience) -> frozenset[Fingerprint]:
    return market.db.read_now(lambda tx: store.list_members(tx, market.id, audience.id))


def told(market: Market, audience: Audience) -> Lookalike | None:
    return market.db.read_now(lambda tx: store.list_lookalikes(tx, market.id, [audience.id])).get(audience.id)


def of_viewer(market: Market, number: int) -> Fingerprint:
    """How an audience keeps a viewer."""
    return UUID(market.db.vault.named_id(market.id, f"delivery:viewer {number}")).bytes


def test_a_lookalike_takes_in_viewers_who_are_like_leads_and_are_none(market: Market) -> None:
    (stranger,) = market.ask(1, features={"drink": "tea"}, has_consent=False)
    market.see(stranger)
    audience = add_lookalike(market)
    assert members(market, audience) == frozenset()
    assert find(market) == 1
    like_tea = {of_viewer(market, number) for number in range(2, 48, 4)}
    assert len(members(market, audience)) == 4
    assert members(market, audience) <= like_tea
    found = told(market, audience)
    assert found is not None
    assert found.known == 36
    assert found.lift is not None
    assert found.low is not None
    assert found.high is not None
    assert 1.0 <= found.low < found.lift < found.high
    assert find(market) == 0
    with_source = add_lookalike(market, include_source=True)
    market.clock.advance(hours=21)
    assert find(market) == 1
    assert told(market, with_source) == replace(
        told(market, with_source) or found, known=48, audience_id=with_source.id
    )


def test_a_lookalike_for_another_place_or_system_takes_in_nobody_from_here(market: Market) -> None:
    """All viewers are in Singapore, and no publisher names their devices."""
    elsewhere = add_lookalike(market, location_ids=["1733045"])
    here = add_lookalike(market, location_ids=["1880251"], mobile_os="IOS")
    find(market)
    assert (members(market, elsewhere), len(members(market, here))) == (frozenset(), 4)


def test_ads_for_a_lookalike_are_shown_to_its_members_alone(market: Market) -> None:
    audience = add_lookalike(market)
    find(market)
    first, second = market.chains

    def aim(tx: Tx) -> None:
        aimed = replace(first.ad_group, audience_ids=(str(audience.number),))
        assert ads.record_node(tx, first.ad_group, aimed)
        ads.mark_status(tx, second.campaign, NodeStatus.PAUSED)

    market.db.write_now(aim)
    market.clock.advance(seconds=30)
    inside = members(market, audience)
    (member, *_) = (number for number in range(48) if of_viewer(market, number) in inside)
    assert market.ask(1, viewer_id=f"viewer {member}")
    assert market.ask(1, viewer_id=f"viewer {member}", has_consent=False) == []
    assert market.ask(1, viewer_id="viewer 1") == []


def test_a_person_who_is_erased_leaves_the_lookalike_and_does_not_come_back(market: Market) -> None:
    audience = add_lookalike(market)
    find(market)
    inside = members(market, audience)
    (member, *_) = (number for number in range(48) if of_viewer(market, number) in inside)
    person = market.db.vault.named_id(market.world.channel.id, f"viewer:viewer {member}")
    none: frozenset[str] = frozenset()
    gone = ErasedPeople(market.id, none, frozenset({person}), none, none)
    market.db.write_now(lambda tx: forget_viewers(tx, gone))
    assert members(market, audience) == inside - {of_viewer(market, member)}
    market.clock.advance(hours=21)
    find(market)
    assert of_viewer(market, member) not in members(market, audience)
    assert len(market.db.read_now(lambda tx: list_known_viewers(tx, market.id))) == 47


def test_before_anything_is_learned_nobody_is_found_and_it_is_tried_again(
    database: Database, clock: FixedClock
) -> None:
    market = add_market(database, clock)
    market.ask(3)
    audience = add_lookalike(market)
    assert find(market) == 1
    assert told(market, audience) == Lookalike(audience.id, market.id, clock.now(), 0, None)
    assert find(market) == 0
    clock.advance(hours=2)
    assert find(market) == 1
    ad_account = market.world.ad_account
    market.db.write_now(lambda tx: delete_audiences(tx, ad_account, [audience.number]))
    assert told(market, audience) is None
