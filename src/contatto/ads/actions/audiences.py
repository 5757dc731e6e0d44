"""Where audiences are used, and deleting those that nothing uses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contatto.accounts.model import AdAccount
from contatto.ads.actions.publishing import NO_PAGES
from contatto.ads.model import AdGroup, NodeFilter
from contatto.ads.store import nodes as store
from contatto.audiences import actions as audiences
from contatto.audiences.model import Audience
from contatto.audiences.rules import source_number
from contatto.audiences.store import list_audiences
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused


@dataclass(frozen=True, slots=True)
class Uses:
    """What an audience is used by."""

    included: list[AdGroup] = field(default_factory=list)
    excluded: list[AdGroup] = field(default_factory=list)
    lookalikes: list[Audience] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.included) + len(self.excluded) + len(self.lookalikes)


def load_uses(tx: Tx, account: AdAccount) -> dict[int, Uses]:
    """What uses each audience of an ad account, by its number; what is deleted uses none."""
    found = list_audiences(tx, account.business_id, account.id)
    uses = {audience.number: Uses() for audience in found}
    by_text = {str(number): each for number, each in uses.items()}
    for group in store.list_ad_groups(tx, account.business_id, account.id, NodeFilter(), NO_PAGES):
        for number in set(group.audience_ids) & set(by_text):
            by_text[number].included.append(group)
        for number in set(group.excluded_audience_ids) & set(by_text):
            by_text[number].excluded.append(group)
    for audience in found:
        source = uses.get(source_number(audience) or 0)
        if source is not None:
            source.lookalikes.append(audience)
    return uses


def delete_unused_audiences(tx: Tx, account: AdAccount, numbers: Sequence[int]) -> list[str]:
    """Delete audiences, all that are named or none of them, and return their ids.

    One that is in use stays: its ads would reach other people. A lookalike that goes as well is no use.

    Raises:
        Refused: NOT_FOUND; IN_USE, with the first one that is used.
    """
    going = set(numbers)
    ids = [audiences.load_audience(tx, account, number).id for number in going]
    uses = load_uses(tx, account)
    for number in sorted(going):
        used = uses[number]
        staying = [each for each in used.lookalikes if each.number not in going]
        if used.included or used.excluded or staying:
            raise Refused(
                errors.IN_USE,
                "The audience %(number)s is still in use.",
                number=str(number),
            )
    audiences.delete_audiences(tx, account, sorted(going))
    return ids
