"""What impressions earned: conversations and leads, counted by what their decisions say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from contatto.delivery.actions.packing import read_record
from contatto.delivery.model.log import Entry, EntryKind, Record
from contatto.delivery.model.trials import TrialDay
from contatto.delivery.store import log as entries
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Attribution
from contatto.operators.actions import count_earned_in_placements
from contatto.operators.model import PlacedDay
from contatto.operators.store import list_owners_of_placements

_CHANGES: Final = {
    EntryKind.CONVERSATION: (1, 0),
    EntryKind.SPAM: (-1, 0),
    EntryKind.LEAD: (0, 1),
}
"""What counts as how many conversations and leads; a chat that is spam never counted."""


@dataclass(frozen=True, slots=True)
class Earned:
    """A conversation or a lead more, or less, on the day of the touch that earned it, with its decision."""

    business_id: str
    ad_account_id: str
    ad_group_id: str
    day: str
    decision: Record
    conversations: int
    leads: int

    def on[D: (TrialDay, PlacedDay)](self, had: D) -> D:
        """What was counted on a day, with this."""
        return replace(
            had, conversations=had.conversations + self.conversations, leads=had.leads + self.leads
        )


def list_earned(
    tx: Tx, business_id: str, kind: EntryKind, credits: Sequence[tuple[Attribution, Entry]]
) -> list[Earned]:
    """What some impressions earned, as far as the log still has their decisions."""
    if kind not in _CHANGES:
        return []
    decisions = entries.list_decisions_of(tx, business_id, {entry.nonce for _, entry in credits})
    records = {decision.nonce: read_record(decision.body) for decision in decisions}
    return [
        Earned(
            business_id, credit.ad_account_id or "", credit.ad_group_id, credit.day, records[entry.nonce],
            *_CHANGES[kind],
        )
        for credit, entry in credits
        if credit.ad_group_id and credit.day and entry.nonce in records
    ]  # fmt: skip


def count_in_placements(tx: Tx, earned: Sequence[Earned]) -> None:
    """Count conversations and leads by the placements of operators in which they were earned."""
    named = {each.decision.placement for each in earned} - {""}
    owners = list_owners_of_placements(tx, named) if named else {}
    days: dict[tuple[str, str, str], PlacedDay] = {}
    for each in earned:
        placement = each.decision.placement
        if placement in owners:
            place = (placement, each.ad_group_id, each.day)
            bare = PlacedDay(
                owners[placement], each.business_id, placement, each.ad_account_id, each.ad_group_id,
                each.day, 0, 0, 0,
            )  # fmt: skip
            days[place] = each.on(days.get(place) or bare)
    count_earned_in_placements(tx, [days[place] for place in sorted(days)])
