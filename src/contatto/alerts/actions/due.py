"""Telling members what is due in one way: each gets one message of all that they may still open."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from contatto.accounts.model import Business, BusinessId, Member
from contatto.accounts.rules import is_able
from contatto.accounts.store import find_business, find_member
from contatto.alerts.model import NEEDS, Alert, Way
from contatto.alerts.store import records
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import Translator
from contatto.kit.languages import SOURCE, translator_for

AT_ONCE: Final = 500
"""Alerts that are told in one batch."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A member who is told, what they may open of what is due, and the texts of their language."""

    business: Business
    member: Member
    alerts: list[Alert]
    words: Translator


def tell_due_alerts(tx: Tx, way: Way, tell: Callable[[Reader], None]) -> int:
    """Have each member told what is due in a way, and note it as told; say how many alerts that were."""
    tx.hold_key(f"alerts {way}")  # two workers at once would both tell them
    due = records.list_due_alerts(tx, way, AT_ONCE)
    for (business_id, member_id), group in groupby(due, key=lambda each: (each.business_id, each.member_id)):
        reader = _find_reader(tx, BusinessId(business_id), member_id, list(group))
        if reader is not None:
            tell(reader)
    if due:
        records.mark_alerts_told(tx, way, due)
    return len(due)


def _find_reader(tx: Tx, business_id: BusinessId, member_id: str, alerts: list[Alert]) -> Reader | None:
    """None for who may not come in, or may open nothing of it."""
    member, business = find_member(tx, business_id, member_id), find_business(tx, business_id)
    if member is None or business is None:
        return None
    readable = [each for each in alerts if is_able(member, NEEDS[each.kind])]
    if not readable:
        return None
    return Reader(business, member, readable, translator_for(member.language or SOURCE))
