"""What other windows would have credited: the database finds the winner that the rule finds."""

import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, row_of
from contatto.measurement.actions import NewConversion, publish_ad, record_conversions
from contatto.measurement.model import (
    Attribution,
    AttributionPolicy,
    Conversion,
    ConversionKind,
    Touch,
    TouchKind,
)
from contatto.measurement.rules import last_touch
from contatto.measurement.store import append_touches, conversions, touches
from contatto.reports.model import Counts
from contatto.reports.rules.figures import (
    CLICK_DAYS,
    VIEW_DAYS,
    WhatIf,
    WhatIfConversion,
    WhatIfWindows,
    compare_winners,
)
from contatto.reports.store import list_rival_touches
from tests import make
from tests.make import record_touch

DAY = 86_400_000_000
ALWAYS = (0, 1 << 60)
ACCOUNT = "ad-account"
ALL = [
    WhatIfWindows(click, view, policy)
    for click in CLICK_DAYS
    for view in VIEW_DAYS
    for policy in AttributionPolicy
]


def grow_world(tx: Tx, dice: random.Random) -> str:
    """Few people, many touches; ties, exact edges of windows, and a neighbour with the same people."""
    owner, neighbour = (make.business(tx).id for _ in range(2))
    ads = [make.ad(owner, ad_id=f"ad {n}", ad_group_id=f"group {n}", ad_number=n + 1) for n in range(4)]
    ads.append(make.ad(neighbour, ad_id="theirs", ad_group_id="theirs", ad_number=9))
    for ad in ads:
        publish_ad(tx, ad)
    ids = dice.sample(range(1, 10_000), 120)
    for touch_id in ids:
        at, person = (
            dice.choice([0, 1, 2, 7, 8, 14, 28, 30]) * DAY + dice.choice([0, 0, 1, DAY // 3]),
            dice.choice("abc"),
        )
        touch = replace(
            make.touch(dice.choice(ads), person_id=person),
            touch_id=touch_id,
            kind=dice.choice(list(TouchKind)),
        )
        record_touch(tx, replace(touch, ts=at, expires_ts=at + 7 * DAY))
    for number in range(40):
        at = dice.choice([1, 7, 14, 28, 29, 31]) * DAY + dice.choice([-1, 0, 0, 1])
        kind, whose = dice.choice(list(ConversionKind)), dice.choice([owner, owner, neighbour])
        record_conversions(tx, [NewConversion(whose, dice.choice("abcd"), kind, f"subject {number}", at)])
    return owner


def supposed_by_the_rule(stored: Attribution, seen: list[Touch], supposed: WhatIfWindows) -> str | None:
    days = {TouchKind.CLICK: supposed.click_days, TouchKind.VIEW: supposed.view_days}
    stamped = [
        replace(one, expires_ts=one.ts + days[one.kind] * DAY if days[one.kind] else one.ts - 1)
        for one in seen
    ]
    conversion = Conversion(**{name: getattr(stored, name) for name in Conversion.__dataclass_fields__})
    winner = last_touch(stamped, conversion, supposed.policy)
    return winner.ad_group_id if winner else None


def winners_of(tx: Tx, business_id: str, supposed: WhatIfWindows) -> list[WhatIfConversion]:
    rivals = list_rival_touches(tx, business_id, ACCOUNT, ALWAYS, supposed)
    return [rival.apply_policy(supposed.policy) for rival in rivals]


def test_under_any_windows_and_policy_the_winner_is_that_of_the_rule(database: Database) -> None:
    dice = random.Random(11)  # noqa: S311  # seeded
    owner = database.write_now(lambda tx: grow_world(tx, dice))

    def look(tx: Tx) -> set[str | None]:
        kept = tx.list(Attribution, select(conversions).where(conversions.c.business_id == owner))
        seen = tx.list(Touch, select(touches))
        winners: set[str | None] = set()
        for supposed in ALL:
            found = winners_of(tx, owner, supposed)
            wanted = {one.conversion_id: supposed_by_the_rule(one, seen, supposed) for one in kept}
            assert {one.conversion_id: one.what_if for one in found} == wanted
            assert [one.ts for one in found] == sorted((one.ts for one in kept), reverse=True)
            winners |= set(wanted.values())
        return winners

    assert database.read_now(look) == {None, *(f"group {n}" for n in range(4))}


def won_by(touch: Touch) -> dict[str, object]:
    """The row of a lead that follows a touch at once."""
    same = ("touch_id", "business_id", "person_id", "ad_group_id", "ad_account_id")
    row = {name: getattr(touch, name) for name in same}
    return row | {
        "conversion_id": touch.touch_id,
        "kind": ConversionKind.LEAD,
        "subject_id": f"lead of {touch.person_id}",
        "ts": touch.ts + 1,
    }


def test_more_conversions_than_any_page_could_hold_are_all_weighed(database: Database) -> None:
    """The windows that are in force change nothing; without any, nobody earns anything."""

    def many(tx: Tx) -> str:
        owner = make.business(tx).id
        ad = make.published_ad(tx, owner)
        people = [f"person {n}" for n in range(6_000)]
        append_touches(tx, [row_of(make.touch(ad, person_id=person)) for person in people])
        seen = tx.list(Touch, select(touches))
        tx.execute(conversions.insert(), [won_by(one) for one in seen])
        return owner

    owner = database.write_now(many)
    for supposed, changed in ((WhatIfWindows(), 0), (WhatIfWindows(0, 0), 6_000)):

        def look(tx: Tx, supposed: WhatIfWindows = supposed) -> WhatIf:
            return compare_winners(winners_of(tx, owner, supposed), 50)

        found = database.read_now(look)
        assert (found.count, found.changed_count, len(found.changed)) == (6_000, changed, min(changed, 50))


def test_both_sides_add_up_to_the_same_conversions() -> None:
    lead, chat = ConversionKind.LEAD, ConversionKind.CONVERSATION
    found = compare_winners(
        [
            WhatIfConversion(1, lead, 9, "a", "b"),
            WhatIfConversion(2, lead, 8, None, "b"),
            WhatIfConversion(3, chat, 7, "a", "a"),
        ],
        1,
    )
    assert found.counts == {
        "a": (Counts(conversations=1, leads=1), Counts(conversations=1, leads=0)),
        None: (Counts(conversations=0, leads=1), Counts()),
        "b": (Counts(), Counts(conversations=0, leads=2)),
    }
    assert (found.count, found.changed_count) == (3, 2)
    assert [one.conversion_id for one in found.changed] == [1]


@pytest.mark.parametrize("policy", AttributionPolicy)
def test_a_conversion_of_a_neighbour_is_never_weighed(database: Database, policy: AttributionPolicy) -> None:
    dice = random.Random(3)  # noqa: S311  # seeded
    database.write_now(lambda tx: grow_world(tx, dice))
    supposed = WhatIfWindows(28, 7, policy)
    assert database.read_now(lambda tx: winners_of(tx, "nobody", supposed)) == []
