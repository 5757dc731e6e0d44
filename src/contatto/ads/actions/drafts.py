"""Keeping what members type into the forms of new campaigns, ad groups and ads until it is made."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from contatto.ads.actions.nodes import find_node
from contatto.ads.model import AdGroup, Campaign, Draft, NodeKind, NodeStatus, Place
from contatto.ads.rules.typed import FORMS, AdForm, AdGroupForm, CampaignForm, pairs_of, read_form
from contatto.ads.store import drafts as store
from contatto.ads.store import nodes
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

KEEP_DRAFTS: Final = timedelta(days=30)
PARENTS: Final = {NodeKind.AD_GROUP: NodeKind.CAMPAIGN, NodeKind.AD: NodeKind.AD_GROUP}
"""What a new thing stands in."""

type Owner = tuple[str, str]
"""A business and the member of it who types."""
type Form = CampaignForm | AdGroupForm | AdForm


@dataclass(frozen=True, slots=True)
class OpenDraft:
    """A draft as a list shows it; ``parent_name`` is empty for a campaign."""

    kind: NodeKind
    parent: int
    parent_name: str
    name: str
    saved_at: datetime


def keep_draft(tx: Tx, owner: Owner, place: Place, form: Form) -> Draft:
    """Keep a form as it is typed now, in the place of what was kept of it before.

    Raises:
        Refused: NOT_FOUND, when what it would stand in is not there (any more).
    """
    check_place(tx, owner, place)
    draft = Draft(*owner, *place, json.dumps(asdict(form)), tx.now)
    store.save_draft(tx, draft)
    return draft


def check_place(tx: Tx, owner: Owner, place: Place) -> None:
    """That a draft may stand there: in something of the business; a campaign stands in nothing, which is 0.

    Raises:
        Refused: NOT_FOUND.
    """
    kind, parent = place
    if kind in PARENTS:
        find_node(tx, owner[0], (PARENTS[kind], parent))
    elif parent != 0:
        raise Refused(errors.NOT_FOUND)


def drop_draft(tx: Tx, owner: Owner, place: Place) -> None:
    """Forget a draft; one that is not there is no mistake."""
    store.delete_draft(tx, *owner, place)


def find_draft(tx: Tx, owner: Owner, place: Place) -> Draft | None:
    return store.find_draft(tx, *owner, place)


def form_of(draft: Draft) -> Any:
    """The form that a draft holds; fields that came later have their usual values."""
    return read_form(FORMS[draft.kind], pairs_of(json.loads(draft.typed)))


def list_open_drafts(tx: Tx, owner: Owner) -> list[OpenDraft]:
    """A member's drafts, those saved last first; without those of which the place was deleted."""
    kept = store.list_drafts(tx, *owner)
    homes = {
        (kind, home.number): home.name
        for kind in PARENTS
        for home in _homes(tx, owner[0], PARENTS[kind], [one.parent for one in kept if one.kind is kind])
    }
    return [
        OpenDraft(
            one.kind,
            one.parent,
            homes.get((one.kind, one.parent), ""),
            form_of(one).name.strip(),
            one.saved_at,
        )
        for one in kept
        if one.kind not in PARENTS or (one.kind, one.parent) in homes
    ]


def purge_drafts(tx: Tx) -> int:
    """Delete drafts that nobody touched for a month; say how many."""
    return store.delete_old_drafts(tx, tx.now - KEEP_DRAFTS)


def _homes(tx: Tx, business_id: str, kind: NodeKind, numbers: Sequence[int]) -> list[Campaign | AdGroup]:
    find = nodes.find_campaign_by_number if kind is NodeKind.CAMPAIGN else nodes.find_ad_group_by_number
    found: list[Campaign | AdGroup | None] = [find(tx, business_id, number) for number in set(numbers)]
    return [home for home in found if home is not None and home.status is not NodeStatus.DELETED]
