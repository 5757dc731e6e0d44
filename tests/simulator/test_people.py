"""People are drawn from a seed, behave within bounds, and say what they are meant to say."""

import random

import phonenumbers
import pytest

from contatto.capture.rules import detect_contacts
from contatto.channels.model import Platform
from contatto.measurement.model import Goal
from contatto.simulator.contacts import MARKETS, email, phone
from contatto.simulator.people import HOME, SLOT_S, plan_people
from contatto.simulator.phrases import phrases_of, say

DAY_S = 86_400.0


def rng(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311  # seeded chance is the subject


def test_the_same_seed_makes_the_same_people() -> None:
    assert plan_people(5, 200, DAY_S, 0.0) == plan_people(5, 200, DAY_S, 0.0)
    assert plan_people(5, 200, DAY_S, 0.0) != plan_people(6, 200, DAY_S, 0.0)


def test_nobody_does_anything_after_the_end() -> None:
    for visitor in plan_people(1, 3_000, DAY_S, 0.0):
        last = visitor.seen_at_s[-1] + visitor.tap_after_s + sum(line.after_s for line in visitor.lines)
        assert visitor.seen_at_s[-1] % SLOT_S == 0
        assert last <= DAY_S


def test_ads_for_leads_find_more_who_share() -> None:
    people = plan_people(1, 5_000, DAY_S, 0.0)

    def sharing(goal: Goal) -> int:
        return sum(any(line.contact for line in visitor.lines_after(goal)) for visitor in people)

    assert sharing(Goal.LEAD) > 1.2 * sharing(Goal.CONVERSATION) > 0


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
