"""Making ads and changing them; measuring hears of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.actions.accounts import find_channel, load_ad_account, load_facts
from contatto.ads.actions.publishing import EVERY_STATUS, measured_ad, publish_ads
from contatto.ads.model import Ad, Status, Wanted
from contatto.ads.rules import goals, settings, statuses
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.measurement import actions as measurement


@dataclass(frozen=True, slots=True)
class NewAd:
    """An ad to make; without a channel account it speaks for the one of its ad group."""

    ad_group_id: str
    name: str
    text: str
    headline: str = ""
    channel_account_id: str | None = None
    ad_format: str = "SINGLE_VIDEO"
    call_to_action: str = settings.SEND_MESSAGE
    auto_message_id: str = ""
    page_id: str = ""
    video_id: str = ""
    status: Status = Status.ACTIVE


@dataclass(frozen=True, slots=True)
class AdChanges:
    """What is to change; None leaves a value as it is."""

    name: str | None = None
    text: str | None = None
    headline: str | None = None
    channel_account_id: str | None = None
    ad_format: str | None = None
    call_to_action: str | None = None
    auto_message_id: str | None = None
    page_id: str | None = None
    video_id: str | None = None


def create_ad(tx: Tx, business_id: str, new: NewAd) -> Ad:
    """Make an ad and tell measuring of it.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    ad_group = store.find_ad_group(tx, business_id, new.ad_group_id)
    if ad_group is None or ad_group.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND, "adgroup_id: there is no such ad group.")
    campaign = store.find_campaign(tx, business_id, ad_group.campaign_id)
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    ad_account = load_ad_account(tx, business_id, ad_group.ad_account_id)
    channel = find_channel(tx, business_id, new.channel_account_id or ad_group.channel_account_id)
    goals.check_goal(ad_group.goal, load_facts(tx, ad_account, channel, ad_group.countries))
    name = settings.check_name("ad_name", new.name)
    ad = Ad(
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
        call_to_action=settings.check_call_to_action(new.call_to_action),
        auto_message_id=new.auto_message_id,
        page_id=new.page_id,
        video_id=new.video_id,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_ad(tx, ad)
    measurement.publish_ad(tx, measured_ad(ad, ad_group, campaign, (ad_account, channel)))
    return ad


def find_own_ad(tx: Tx, account: AdAccount, number: int) -> Ad:
    """An ad of an ad account by the API's ``ad_id``.

    Raises:
        Refused: NOT_FOUND.
    """
    ad = store.find_ad_by_number(tx, account.business_id, number)
    if ad is None or ad.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "ad_id: there is no such ad.")
    return ad


def update_ad(tx: Tx, account: AdAccount, number: int, changes: AdChanges) -> Ad:
    """Change an ad and tell measuring of it.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    before = find_own_ad(tx, account, number)
    statuses.check_alive("ad_id", before.status)
    given = {name: getattr(changes, name) for name in AdChanges.__dataclass_fields__}
    given = {name: value.strip() for name, value in given.items() if value is not None}
    if "name" in given:
        settings.check_name("ad_name", given["name"])
    settings.check_call_to_action(given.get("call_to_action", before.call_to_action))
    if given.get("channel_account_id"):
        given["channel_account_id"] = _changed_channel(tx, account, before, given["channel_account_id"])
    changed = replace(before, **given, updated_at=tx.now)
    store.record_ad(tx, changed)
    publish_ads(tx, account, Wanted(ad_numbers=frozenset({number}), statuses=EVERY_STATUS))
    return changed


def _changed_channel(tx: Tx, account: AdAccount, before: Ad, wanted: str) -> str:
    channel = find_channel(tx, account.business_id, wanted)
    ad_group = store.find_ad_group(tx, account.business_id, before.ad_group_id)
    if ad_group is not None and channel.id != before.channel_account_id:
        goals.check_goal(ad_group.goal, load_facts(tx, account, channel, ad_group.countries))
    return channel.id


def change_ad_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: Status) -> None:
    """Change the status of ads, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    found = [store.find_ad_by_number(tx, account.business_id, number) for number in numbers]
    for ad in found:
        if ad is None or ad.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "ad_ids: there is no such ad.")
        statuses.check_move(ad.status, status)
        store.mark_ad_status(tx, ad, status)
