"""Whom open pages tell of an event is said for every event, and for no other."""

from contatto.inbox.model import CustomerTyping, MemberTyping
from contatto.wiring import AFTER, EVENT_PERMISSIONS

WHISPERS = {CustomerTyping, MemberTyping}


def test_every_event_says_who_may_hear_of_it() -> None:
    assert set(EVENT_PERMISSIONS) == set(AFTER) | WHISPERS
