"""Uses of audiences, and deletion of unused ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.actions.publishing import NO_PAGES
from contatto.ads.model import AdGroup, NodeFilter
from contatto.audiences import actions as audiences
from contatto.audiences.model import Audience
from contatto.audiences.rules import source_number
from contatto.audiences.store import list_audiences
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused


@dataclass(frozen=True, slots=True)
class Uses:
    """Ad groups and lookalikes that use an audience."""

    included: list[AdGroup] = field(default_factory=list)
    excluded: list[AdGroup] = field(default_factory=list)
    lookalikes: list[Audience] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.included) + len(self.excluded) + len(self.lookalikes)


def load_uses(tx: Tx, account: AdAccount) -> dict[int, Uses]:
    """Load the uses of each audience of an ad account by number, without deleted users."""
    audiences = list_audiences(tx, account.business_id, account.id)
    uses = {audience.number: Uses() for audience in audiences}
    by_text = {str(number): use for number, use in uses.items()}
    for group in store.list_ad_groups(tx, account.business_id, account.id, NodeFilter(), NO_PAGES):
        for number in set(group.audience_ids) & set(by_text):
            by_text[number].included.append(group)
        for number in set(group.excluded_audience_ids) & set(by_text):
            by_text[number].excluded.append(group)
    for audience in audiences:
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
    deleted_numbers = set(numbers)
    ids = [audiences.load_audience(tx, account, number).id for number in deleted_numbers]
    uses = load_uses(tx, account)
    for number in sorted(deleted_numbers):
        used = uses[number]
        staying = [lookalike for lookalike in used.lookalikes if lookalike.number not in deleted_numbers]
        if used.included or used.excluded or staying:
            raise Refused(
                errors.IN_USE,
                "The audience %(number)s is still in use.",
                number=str(number),
            )
    audiences.delete_audiences(tx, account, sorted(deleted_numbers))
    return ids
