"""People are drawn from a seed, behave within bounds, and say what they are meant to say."""

import random

import phonenumbers
import pytest

from contatto.capture.rules import detect_contacts
from contatto.channels.model import Platform
from contatto.simulator.world import (
    HOME,
    KEEN_TOPICS,
    MARKETS,
    OFFER,
    STORY,
    Appeal,
    Intent,
    email,
    phone,
    phrases_of,
    plan_people,
    say,
)

DAY_S = 86_400.0


def rng(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311  # seeded chance is the subject


def test_the_same_seed_makes_the_same_people() -> None:
    assert plan_people(5, 200, DAY_S) == plan_people(5, 200, DAY_S)
    assert plan_people(5, 200, DAY_S) != plan_people(6, 200, DAY_S)


def test_people_look_at_ads_in_order_of_time_within_the_span() -> None:
    for visitor in plan_people(1, 3_000, DAY_S):
        moments = [look.at_s for look in visitor.looks]
        assert moments == sorted(moments)
        assert 0 <= moments[0] <= moments[-1] <= DAY_S


def test_what_people_do_depends_on_them_and_on_the_ad_alone() -> None:
    people = plan_people(1, 20_000, DAY_S)

    def share(appeal: Appeal, intent: Intent) -> tuple[float, float]:
        """Of those with a wish: how many tap, and how many of these share."""
        some = [visitor for visitor in people if visitor.intent is intent]
        tapped = [visitor for visitor in some if visitor.taps(visitor.looks[0], appeal)]
        sharing = [each for each in tapped if any(line.contact for line in each.lines_after(appeal))]
        return len(tapped) / len(some), len(sharing) / len(tapped)

    assert share(OFFER, Intent.PLAN)[0] > 1.3 * share(OFFER, Intent.LOOK)[0]
    assert share(STORY, Intent.LOOK)[0] > 1.3 * share(STORY, Intent.PLAN)[0]
    assert share(OFFER, Intent.PLAN)[1] > 2.0 * share(OFFER, Intent.LOOK)[1] > 0.0


def test_a_wish_shows_in_what_a_publisher_knows_and_is_not_told() -> None:
    people = plan_people(1, 5_000, DAY_S)
    planning = [visitor for visitor in people if visitor.intent is Intent.PLAN]
    follows = [visitor for visitor in people if visitor.traits.follows[0] in KEEN_TOPICS]
    among = sum(visitor.intent is Intent.PLAN for visitor in follows) / len(follows)
    assert among > 1.5 * len(planning) / len(people)


@pytest.mark.parametrize("country", MARKETS)
def test_every_number_is_one_of_its_market(country: str) -> None:
    chance = rng()
    for _ in range(200):
        made = phone(chance, country, country)
        parsed = phonenumbers.parse(made.shown, country)
        assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == made.value
        assert phonenumbers.is_valid_number(parsed), made


@pytest.mark.parametrize("language", ["en", "ms", "id", "th", "vi", "tl", "zh"])
@pytest.mark.parametrize("platform", HOME)
def test_lines_that_share_are_found_and_others_are_not(language: str, platform: Platform) -> None:
    chance, home = rng(), HOME[platform]
    for kind in phrases_of(language):
        for _ in range(60):
            contact = email(chance, "sunny_kettle7") if kind == "emails" else None
            if kind == "phones":
                contact = phone(chance, chance.choice(list(MARKETS)), home)
            line = say(chance, language, kind, contact.shown if contact else "")
            found = [match.value for match in detect_contacts(line, home)]
            assert found == ([contact.value] if contact else []), line
