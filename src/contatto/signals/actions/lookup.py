"""What signals need to know of a lead: which account its ad was of, whom the platform may find, its worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from contatto.ad_platforms.actions.pulling import find_known_ads
from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.registry import AD_PLATFORMS
from contatto.ad_platforms.store import list_outside_accounts
from contatto.capture.model import Field
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_account
from contatto.crm.store.deliveries import list_records_of_lead
from contatto.forms.store import list_receipts_of_lead
from contatto.inbox.model import AdReferral
from contatto.inbox.store.conversations import list_persons
from contatto.inbox.store.receipts import list_referrals
from contatto.kit.db.tx import Tx
from contatto.kit.numbers import to_micros
from contatto.leads.model import Lead
from contatto.leads.store.records import list_outgoing_points
from contatto.signals.model.events import Whom
from contatto.signals.model.settings import SignalSettings
from contatto.signals.rules.sources import earning_account, last_before
from contatto.signals.rules.steps import may_leave

_PHONES = (Field.PHONE, Field.WHATSAPP)


@dataclass(frozen=True, slots=True)
class Earned:
    """A lead's tap: the settings of the account whose ad it was, the chat's account, and the tap itself."""

    settings: SignalSettings
    channel: ChannelAccount
    tap: AdReferral


def find_earned(tx: Tx, lead: Lead, wanted: Sequence[SignalSettings]) -> Earned | None:
    """Return which of some accounts a lead's ad was of; None for a lead that none of them earned.

    The last tap before the lead was there counts, as in the reports.
    """
    taps = list_referrals(tx, lead.business_id, lead.conversation_id)
    place = last_before([tap.at for tap in taps], lead.created_at)
    channel = find_account(tx, lead.business_id, lead.channel_account_id)
    if place is None or channel is None:
        return None
    tap, platform = taps[place], AD_PLATFORMS.get(channel.platform)
    accounts = _accounts_of(tx, lead.business_id, wanted)
    external = {account.id: account.external_id for account in accounts if account.platform is platform}
    ad = find_known_ads(tx, lead.business_id, {tap.ad_number}).find(platform, tap.ad_number, tap.advertiser)
    earned = earning_account(tap.advertiser, ad.ad_account_id if ad else "", external)
    settings = next(
        (signal_settings for signal_settings in wanted if signal_settings.outside_account_id == earned), None
    )
    return Earned(settings, channel, tap) if settings else None


def _accounts_of(tx: Tx, business_id: str, wanted: Sequence[SignalSettings]) -> list[OutsideAccount]:
    ids = {signal_settings.outside_account_id for signal_settings in wanted}
    return [account for account in list_outside_accounts(tx, business_id) if account.id in ids]


def has_agreed(tx: Tx, settings: SignalSettings, lead: Lead) -> bool:
    """Return whether the consents that are kept let signals of a lead leave."""
    return may_leave(settings.consent, list_receipts_of_lead(tx, lead.business_id, lead.id))


def find_whom(tx: Tx, earned: Earned, lead: Lead) -> Whom:
    """By what the platform may find the person; details that a member called wrong are left out."""
    points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
    person = list_persons(tx, lead.business_id, {lead.person_id}).get(lead.person_id)
    is_whatsapp = earned.channel.platform is Platform.WHATSAPP
    return Whom(
        external_id=lead.person_id,
        emails=tuple(point.value for point in points if point.field is Field.EMAIL),
        phones=tuple(point.value for point in points if point.field in _PHONES),
        click_id=earned.tap.click_id,
        channel=earned.channel.platform,
        business_id=earned.settings.whatsapp_id if is_whatsapp else earned.channel.external_id,
        scoped_id=person.external_id if person else "",
    )


def find_worth(tx: Tx, settings: SignalSettings, lead: Lead) -> int | None:
    """What a converted lead is worth, in micros: as a CRM told it last, else as the settings have it."""
    told = [
        (record.told_at, amount)
        for record in list_records_of_lead(tx, lead.business_id, lead.id)
        if record.told_at is not None and (amount := _amount(record.value)) is not None
    ]
    return max(told)[1] if told else settings.value_micros


def _amount(text: str) -> int | None:
    try:
        amount = to_micros(text.strip())
    except ValueError:
        return None
    return amount if amount > 0 else None
