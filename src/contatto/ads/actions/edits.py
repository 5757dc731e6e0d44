"""Bulk changes, copies, drafts and form edits of ads."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.actions.campaigns import (
    AdChanges,
    AdGroupChanges,
    CampaignChanges,
    change_ad_group_status,
    change_ad_status,
    change_campaign_status,
    update_ad,
    update_ad_group,
    update_campaign,
)
from contatto.ads.actions.publishing import (
    NO_PAGES,
    choose_first_message,
    find_channel,
    load_ad_account,
    load_facts,
    publish_one_ad,
)
from contatto.ads.model import (
    Ad,
    AdGroup,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    Draft,
    NodeFilter,
    NodeKind,
    NodeStatus,
    Place,
    ScheduleType,
    Targeting,
)
from contatto.ads.rules.goals import check_goal
from contatto.ads.rules.settings import (
    FORMS,
    LONGEST_NAME,
    STATUS_AFTER,
    Act,
    AdForm,
    AdGroupForm,
    CampaignForm,
    cap_of,
    check_fits,
    need_amount,
    need_headline,
    pairs_of,
    read_form,
    read_frequency,
    read_pacing,
    read_times,
    typed_ad,
    typed_ad_group,
    typed_campaign,
)
from contatto.ads.rules.targeting import normal_countries
from contatto.audiences.store import list_audiences
from contatto.channels.model import ChannelAccount
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults, Typist, check_leap, read_amount
from contatto.kit.ids import new_id, new_number


def find_node(tx: Tx, business_id: str, place: Place) -> Campaign | AdGroup | Ad:
    """Find the node at a place, unless it is deleted.

    Raises:
        Refused: NOT_FOUND.
    """
    kind, number = place
    find = {
        NodeKind.CAMPAIGN: store.find_campaign_by_number,
        NodeKind.AD_GROUP: store.find_ad_group_by_number,
        NodeKind.AD: store.find_ad_by_number,
    }[kind]
    node: Campaign | AdGroup | Ad | None = find(tx, business_id, number)
    if node is None or node.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND)
    return node


def change_node_status(tx: Tx, business_id: str, place: Place, status: NodeStatus) -> None:
    """Start, pause or delete what stands at a place; deletion takes all that is under it along.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    account, (kind, number) = load_node_account(tx, business_id, place), place
    change = {
        NodeKind.CAMPAIGN: change_campaign_status,
        NodeKind.AD_GROUP: change_ad_group_status,
        NodeKind.AD: change_ad_status,
    }[kind]
    change(tx, account, [number], status)


def load_node_account(tx: Tx, business_id: str, place: Place) -> AdAccount:
    """Return the ad account of what stands at a place.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_ad_account(tx, business_id, find_node(tx, business_id, place).ad_account_id)


def edit_node(tx: Tx, business_id: str, place: Place, act: Act, amount: str, typist: Typist) -> None:
    """Apply a bulk change to one row.

    Args:
        tx: of this row alone, so that its refusal keeps no other row from being changed.
        business_id: business of the row.
        place: the row.
        act: the change.
        amount: a budget or a bid as it was typed, in units of the ad account's currency.
        typist: who typed it.

    Raises:
        Refused: NOT_FOUND, INVALID, CONFLICT.
        Leap: the amount would change more than tenfold.
    """
    check_fits(act, place[0])
    if act in STATUS_AFTER:
        change_node_status(tx, business_id, place, STATUS_AFTER[act])
        return
    node, (kind, number) = find_node(tx, business_id, place), place
    account = load_ad_account(tx, business_id, node.ad_account_id)
    micros = need_amount(act.value, amount, account.currency, typist.words.lang)
    before = None if isinstance(node, Ad) else node.budget_micros
    if act is Act.BID and isinstance(node, AdGroup):
        before = node.bid_micros
    if act is Act.BID:
        changes = AdGroupChanges(bid_type=BidType.CUSTOM, bid_micros=micros)
        update_ad_group(tx, account, number, changes)
    elif kind is NodeKind.AD_GROUP:
        update_ad_group(tx, account, number, AdGroupChanges(budget_micros=micros))
    else:
        update_campaign(tx, account, number, CampaignChanges(budget_micros=micros))
    check_leap(act.value, before, micros, account.currency, typist)  # once all else is right


def copy_node(
    tx: Tx, business_id: str, place: Place, named: Callable[[str], str], *, needs_review: bool = False
) -> Campaign | AdGroup | Ad:
    """Copy what stands at a place, beside it, with all under it that is not deleted.

    The copy itself is paused; its children keep their status, so that one switch starts it all.

    Args:
        tx: holds the whole copy or nothing of it.
        business_id: business of the node.
        place: the node to copy.
        named: makes the name of the copy from that of the original.
        needs_review: whether copied ads wait for the operator.

    Raises:
        Refused: NOT_FOUND; NOT_ELIGIBLE or CAPTURE_OFF for a goal that could not be chosen anew.
    """
    item = find_node(tx, business_id, place)
    name = named(item.name)[:LONGEST_NAME].strip()
    if isinstance(item, Campaign):
        return _copy_campaign(tx, item, name, needs_review=needs_review)
    campaign = store.find_campaign(tx, business_id, item.campaign_id)
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    if isinstance(item, AdGroup):
        group = replace(item, name=name, status=NodeStatus.PAUSED)
        return _copy_ad_group(tx, group, campaign, needs_review=needs_review)
    above = store.find_ad_group(tx, business_id, item.ad_group_id)
    if above is None:
        raise Refused(errors.NOT_FOUND)
    ad = replace(item, name=name, status=NodeStatus.PAUSED)
    return _copy_ad(tx, ad, (above, campaign), needs_review=needs_review)


def _copy_campaign(tx: Tx, campaign: Campaign, name: str, *, needs_review: bool) -> Campaign:
    new_campaign = replace(
        campaign,
        id=new_id(),
        number=new_number(),
        name=name,
        status=NodeStatus.PAUSED,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_campaign(tx, new_campaign)
    under = NodeFilter(campaign_numbers=frozenset({campaign.number}))
    ad_groups = store.list_ad_groups(tx, campaign.business_id, campaign.ad_account_id, under, NO_PAGES)
    for group in reversed(ad_groups):  # the oldest first, so that the copies stand in the same order
        _copy_ad_group(tx, group, new_campaign, needs_review=needs_review)
    return new_campaign


def _copy_ad_group(tx: Tx, group: AdGroup, campaign: Campaign, *, needs_review: bool) -> AdGroup:
    """Copy an ad group into a campaign; its schedule stays, so one that has ended is put right by hand."""
    _check_goal(tx, group, group.channel_account_id)
    new_group = replace(
        group,
        id=new_id(),
        number=new_number(),
        campaign_id=campaign.id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_ad_group(tx, new_group)
    under = NodeFilter(ad_group_numbers=frozenset({group.number}))
    for ad in reversed(store.list_ads(tx, group.business_id, group.ad_account_id, under, NO_PAGES)):
        _copy_ad(tx, ad, (new_group, campaign), needs_review=needs_review)
    return new_group


def _copy_ad(tx: Tx, ad: Ad, above: tuple[AdGroup, Campaign], *, needs_review: bool) -> Ad:
    """Copy an ad into an ad group; one that was rejected is no better as a copy."""
    group, campaign = above
    homes = _check_goal(tx, group, ad.channel_account_id)
    new_ad = replace(
        ad,
        id=new_id(),
        number=new_number(),
        ad_group_id=group.id,
        campaign_id=campaign.id,
        created_at=tx.now,
        updated_at=tx.now,
        audit=Audit.AUDITING if needs_review else ad.audit,
        audit_reason="" if needs_review else ad.audit_reason,
    )
    store.save_ad(tx, new_ad)
    publish_one_ad(tx, new_ad, group, campaign, homes)
    return new_ad


def _check_goal(tx: Tx, group: AdGroup, channel_account_id: str) -> tuple[AdAccount, ChannelAccount]:
    """Refuse a goal that could not be chosen anew; give the ad account and the channel account."""
    account = load_ad_account(tx, group.business_id, group.ad_account_id)
    channel = find_channel(tx, group.business_id, channel_account_id)
    check_goal(group.goal, load_facts(tx, account, channel, group.countries))
    return account, channel


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
    """Keep a form as the member typed it, in place of an earlier draft.

    Raises:
        Refused: NOT_FOUND, when its parent does not exist (any more).
    """
    check_place(tx, owner, place)
    draft = Draft(*owner, *place, json.dumps(asdict(form)), tx.now)
    store.save_draft(tx, draft)
    return draft


def check_place(tx: Tx, owner: Owner, place: Place) -> None:
    """Check that the parent of a draft belongs to the business; a campaign has the parent 0.

    Raises:
        Refused: NOT_FOUND.
    """
    kind, parent = place
    if kind in PARENTS:
        find_node(tx, owner[0], (PARENTS[kind], parent))
    elif parent != 0:
        raise Refused(errors.NOT_FOUND)


def drop_draft(tx: Tx, owner: Owner, place: Place) -> None:
    """Delete a draft; a missing one is no error."""
    store.delete_draft(tx, *owner, place)


def find_draft(tx: Tx, owner: Owner, place: Place) -> Draft | None:
    return store.find_draft(tx, *owner, place)


def form_of(draft: Draft) -> Any:
    """Return the form that a draft holds; fields that came later have their usual values."""
    return read_form(FORMS[draft.kind], pairs_of(json.loads(draft.typed)))


def list_open_drafts(tx: Tx, owner: Owner) -> list[OpenDraft]:
    """Return a member's drafts, those saved last first; without those of which the place was deleted."""
    drafts = store.list_drafts(tx, *owner)
    homes = {
        (kind, home.number): home.name
        for kind in PARENTS
        for home in _homes(tx, owner[0], PARENTS[kind], [one.parent for one in drafts if one.kind is kind])
    }
    return [
        OpenDraft(
            one.kind,
            one.parent,
            homes.get((one.kind, one.parent), ""),
            form_of(one).name.strip(),
            one.saved_at,
        )
        for one in drafts
        if one.kind not in PARENTS or (one.kind, one.parent) in homes
    ]


def purge_drafts(tx: Tx) -> int:
    """Delete drafts without a change for a month; return their number."""
    return store.delete_old_drafts(tx, tx.now - KEEP_DRAFTS)


def _homes(tx: Tx, business_id: str, kind: NodeKind, numbers: Sequence[int]) -> list[Campaign | AdGroup]:
    find = store.find_campaign_by_number if kind is NodeKind.CAMPAIGN else store.find_ad_group_by_number
    parents: list[Campaign | AdGroup | None] = [find(tx, business_id, number) for number in set(numbers)]
    return [home for home in parents if home is not None and home.status is not NodeStatus.DELETED]


_START: Final = ("starts_on", "starts_time")
_END: Final = ("ends_on", "ends_time")


@dataclass(frozen=True, slots=True)
class NodeEdit[F]:
    """A form that was sent: who typed it, and the change that its writer has seen."""

    form: F
    typist: Typist
    seen_at: datetime


def edit_campaign(tx: Tx, account: AdAccount, before: Campaign, edit: NodeEdit[CampaignForm]) -> Campaign:
    """Change a campaign to what its form says.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    form, faults, lang = edit.form, Faults(), edit.typist.words.lang
    shown = typed_campaign(before, account.currency, lang)
    budget = None
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        budget = faults.read(lambda: need_amount("budget", form.budget, account.currency, lang), None)
        _ask(account, "budget", (before.budget_micros, budget), edit.typist, faults)
    changes = CampaignChanges(name=_anew(form, shown, "name"), budget_micros=budget, seen_at=edit.seen_at)
    return faults.finish(lambda: update_campaign(tx, account, before.number, changes))


def edit_ad_group(tx: Tx, account: AdAccount, before: AdGroup, edit: NodeEdit[AdGroupForm]) -> AdGroup:
    """Change an ad group to what its form says; account, goal, kind of budget and windows stay as they are.

    Raises:
        Refused: INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    form, faults = edit.form, Faults()
    shown = shown_ad_group(tx, account, before, edit.typist.words.lang)
    pacing = faults.read(lambda: read_pacing(form), before.pacing)
    times: dict[str, Any] = {}
    cap: dict[str, Any] = {}
    faults.read(lambda: times.update(_changed_times(tx, account, before, form, shown)), None)
    if form.frequency != shown.frequency or form.frequency_schedule != shown.frequency_schedule:
        faults.read(lambda: cap.update(_changed_frequency(form, edit.typist.words.lang)), None)
    changes = AdGroupChanges(
        name=_anew(form, shown, "name"),
        countries=normal_countries(form.countries) if _differs(form, shown, "countries") else None,
        pacing=pacing if form.pacing != shown.pacing else None,
        page_id=_anew(form, shown, "page_id"),
        targeting={
            part: getattr(form, part)
            for part in Targeting.__dataclass_fields__
            if _differs(form, shown, part)
        },
        seen_at=edit.seen_at,
        **_changed_money(account, before, edit, shown, faults),
        **times,
        **cap,
    )
    return faults.finish(lambda: update_ad_group(tx, account, before.number, changes))


def edit_ad(tx: Tx, account: AdAccount, before: Ad, edit: NodeEdit[AdForm], *, needs_review: bool) -> Ad:
    """Change an ad to what its form says; with ``needs_review`` new texts wait for the operator.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    form, faults = edit.form, Faults()
    shown = typed_ad(before)
    faults.read(lambda: need_headline(form), "")
    message = None
    if _differs(form, shown, "auto_message_id"):
        message = faults.read(lambda: choose_first_message(tx, account, form), None)
    changes = AdChanges(
        auto_message_id=message,
        name=_anew(form, shown, "name"),
        headline=_anew(form, shown, "headline"),
        text=_anew(form, shown, "body"),
        page_id=_anew(form, shown, "page_id"),
        seen_at=edit.seen_at,
    )
    return faults.finish(lambda: update_ad(tx, account, before.number, changes, needs_review=needs_review))


def shown_ad_group(tx: Tx, account: AdAccount, before: AdGroup, lang: str) -> AdGroupForm:
    """Return an ad group as its form shows it: without audiences that are gone, or a start that has come."""
    audience_numbers = {str(one.number) for one in list_audiences(tx, account.business_id, account.id)}
    typed = typed_ad_group(before, account, lang)
    if before.starts_at <= tx.now:
        typed = replace(typed, starts_on="", starts_time="")
    return replace(
        typed,
        audience_ids=tuple(one for one in typed.audience_ids if one in audience_numbers),
        excluded_audience_ids=tuple(one for one in typed.excluded_audience_ids if one in audience_numbers),
    )


def _changed_money(
    account: AdAccount, before: AdGroup, edit: NodeEdit[AdGroupForm], shown: AdGroupForm, faults: Faults
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    form, typist, currency, lang = edit.form, edit.typist, account.currency, edit.typist.words.lang
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        budget = faults.read(lambda: need_amount("budget", form.budget, currency, lang), None)
        _ask(account, "budget", (before.budget_micros, budget), typist, faults)
        changed["budget_micros"] = budget
    if form.bid != shown.bid:
        bid = faults.read(lambda: read_amount("bid", form.bid, currency, lang), before.bid_micros)
        _ask(account, "bid", (before.bid_micros, bid), typist, faults)
        changed |= {"bid_type": BidType.NO_BID if bid is None else BidType.CUSTOM, "bid_micros": bid}
    return changed


def _ask(
    account: AdAccount, field: str, values: tuple[int | None, int | None], typist: Typist, faults: Faults
) -> None:
    """Add a field if its amount leaps from the first value to the second without a confirmation."""
    before, after = values
    faults.read(lambda: check_leap(field, before, after, account.currency, typist), None)


def _changed_times(
    tx: Tx, account: AdAccount, before: AdGroup, form: AdGroupForm, shown: AdGroupForm
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    starts_at, ends_at = read_times(form, account.timezone)
    if before.starts_at > tx.now and any(_differs(form, shown, name) for name in _START):
        changed["starts_at"] = starts_at or tx.now
    if any(_differs(form, shown, name) for name in _END):
        changed["ends_at"] = ends_at
        changed["schedule_type"] = ScheduleType.START_END if ends_at else ScheduleType.FROM_NOW
    return changed


def _changed_frequency(form: AdGroupForm, lang: str) -> dict[str, int | None]:
    """Return views and days of the frequency cap; 0 where both were left empty, which ends it."""
    views, days = read_frequency(form, lang)
    cap = cap_of(views, days)
    return {"frequency": cap.views if cap else 0, "frequency_schedule": cap.days if cap else None}


def _differs(form: Any, shown: Any, name: str) -> bool:
    typed, was = getattr(form, name), getattr(shown, name)
    return set(typed) != set(was) if isinstance(was, tuple) else typed != was


def _anew(form: Any, shown: Any, name: str) -> Any:
    """Return a field if it was typed anew, else None."""
    return getattr(form, name) if _differs(form, shown, name) else None
