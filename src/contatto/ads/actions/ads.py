"""Making ads and changing them; measuring is told of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.actions.first_messages import check_form, check_message
from contatto.ads.actions.publishing import (
    EVERY_STATUS,
    find_channel,
    load_ad_account,
    load_facts,
    publish_ads,
    publish_one_ad,
)
from contatto.ads.model import Ad, AdGroup, Audit, NodeFilter, NodeStatus
from contatto.ads.rules.delivering import check_alive, check_move, check_seen
from contatto.ads.rules.goals import check_audit_reason, check_goal, shown_of
from contatto.ads.rules.settings import SEND_MESSAGE, check_call_to_action, check_name
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number


@dataclass(frozen=True, slots=True)
class NewAd:
    """An ad to make; without a channel account it speaks for the one of its ad group."""

    ad_group_id: str
    name: str
    text: str
    headline: str = ""
    channel_account_id: str | None = None
    ad_format: str = "SINGLE_VIDEO"
    call_to_action: str = SEND_MESSAGE
    auto_message_id: str = ""
    page_id: str = ""
    video_id: str = ""
    status: NodeStatus = NodeStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class AdChanges:
    """Changes of the node; None leaves a value as it is. ``seen_at`` is as in ``AdGroupChanges``."""

    name: str | None = None
    text: str | None = None
    headline: str | None = None
    channel_account_id: str | None = None
    ad_format: str | None = None
    call_to_action: str | None = None
    auto_message_id: str | None = None
    page_id: str | None = None
    video_id: str | None = None
    seen_at: datetime | None = None


def create_ad(tx: Tx, business_id: str, new: NewAd, *, needs_review: bool = False) -> Ad:
    """Make an ad and tell measuring of it; with ``needs_review`` it waits for the operator.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    ad_group = store.find_ad_group(tx, business_id, new.ad_group_id)
    if ad_group is None or ad_group.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND, "adgroup_id: ad group not found.")
    campaign = store.find_campaign(tx, business_id, ad_group.campaign_id)
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    ad = plan_ad(tx, ad_group, new, needs_review=needs_review)
    store.save_ad(tx, ad)
    homes = (
        load_ad_account(tx, business_id, ad.ad_account_id),
        find_channel(tx, business_id, ad.channel_account_id),
    )
    publish_one_ad(tx, ad, ad_group, campaign, homes)
    return ad


def plan_ad(tx: Tx, ad_group: AdGroup, new: NewAd, *, needs_review: bool = False) -> Ad:
    """The ad that would be made in an ad group, which may be a plan too; nothing is written.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    business_id = ad_group.business_id
    ad_account = load_ad_account(tx, business_id, ad_group.ad_account_id)
    channel = find_channel(tx, business_id, new.channel_account_id or ad_group.channel_account_id)
    check_goal(ad_group.goal, load_facts(tx, ad_account, channel, ad_group.countries))
    name = check_name("ad_name", new.name)
    check_message(tx, ad_account, new.auto_message_id)
    check_form(tx, business_id, new.page_id)
    return Ad(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        ad_group_id=ad_group.id,
        campaign_id=ad_group.campaign_id,
        ad_account_id=ad_group.ad_account_id,
        channel_account_id=channel.id,
        name=name,
        headline=new.headline.strip() or channel.name,
        text=new.text.strip(),
        ad_format=new.ad_format,
        call_to_action=check_call_to_action(new.call_to_action),
        auto_message_id=new.auto_message_id,
        page_id=new.page_id,
        video_id=new.video_id,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
        audit=Audit.AUDITING if needs_review else Audit.PASS,
    )


def find_own_ad(tx: Tx, account: AdAccount, number: int) -> Ad:
    """An ad of an ad account by the API's ``ad_id``.

    Raises:
        Refused: NOT_FOUND.
    """
    ad = store.find_ad_by_number(tx, account.business_id, number)
    if ad is None or ad.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "ad_id: ad not found.")
    return ad


def update_ad(
    tx: Tx, account: AdAccount, number: int, changes: AdChanges, *, needs_review: bool = False
) -> Ad:
    """Change an ad and tell measuring of it; with ``needs_review`` what people see waits for the operator.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    before = find_own_ad(tx, account, number)
    check_alive("ad_id", before.status)
    check_seen(before.updated_at, changes.seen_at)
    changed_values = row_of(changes, without={"seen_at"})
    changed_values = {name: value.strip() for name, value in changed_values.items() if value is not None}
    if "name" in changed_values:
        check_name("ad_name", changed_values["name"])
    check_call_to_action(changed_values.get("call_to_action", before.call_to_action))
    if changed_values.get("channel_account_id"):
        changed_values["channel_account_id"] = _changed_channel(
            tx, account, before, changed_values["channel_account_id"]
        )
    if changed_values.get("auto_message_id", before.auto_message_id) != before.auto_message_id:
        check_message(tx, account, changed_values["auto_message_id"])
    if changed_values.get("page_id", before.page_id) != before.page_id:
        check_form(tx, account.business_id, changed_values["page_id"])
    changed = replace(before, **changed_values, updated_at=tx.now)
    if needs_review and shown_of(changed) != shown_of(before):
        changed = replace(changed, audit=Audit.AUDITING, audit_reason="")
    if not store.record_ad(tx, before, changed):
        raise Refused(errors.CONFLICT)
    publish_ads(tx, account, NodeFilter(ad_numbers=frozenset({number}), statuses=EVERY_STATUS))
    return changed


def _changed_channel(tx: Tx, account: AdAccount, before: Ad, account_number: str) -> str:
    channel = find_channel(tx, account.business_id, account_number)
    ad_group = store.find_ad_group(tx, account.business_id, before.ad_group_id)
    if ad_group is not None and channel.id != before.channel_account_id:
        check_goal(ad_group.goal, load_facts(tx, account, channel, ad_group.countries))
    return channel.id


def change_ad_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: NodeStatus) -> None:
    """Change the status of ads, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    ads = [store.find_ad_by_number(tx, account.business_id, number) for number in numbers]
    for ad in ads:
        if ad is None or ad.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "ad_ids: ad not found.")
        check_move(ad.status, status)
        store.mark_ad_status(tx, ad, status)


def approve_ad(tx: Tx, number: int) -> Ad:
    """Let an ad be shown. For the operator.

    Raises:
        Refused: NOT_FOUND.
    """
    return _audit(tx, number, Audit.PASS, "")


def reject_ad(tx: Tx, number: int, reason: str) -> Ad:
    """Keep an ad from being shown; the business sees the reason. For the operator.

    Raises:
        Refused: NOT_FOUND; INVALID without a reason.
    """
    return _audit(tx, number, Audit.REJECTED, check_audit_reason(reason))


def _audit(tx: Tx, number: int, audit: Audit, reason: str) -> Ad:
    ad = store.find_any_ad(tx, number)
    if ad is None or ad.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND, "Ad not found.")
    changed = replace(ad, audit=audit, audit_reason=reason, updated_at=tx.now)
    if not store.record_ad(tx, ad, changed):
        raise Refused(errors.CONFLICT)
    return changed
