"""Finding the ad account and the channel account that an ad works with, and the facts that goals ask for."""

from contatto.accounts import store as accounts
from contatto.accounts.actions import NewAdAccount, correct_ad_account
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads.model import Facts, NodeFilter, NodeStatus
from contatto.ads.rules import goals
from contatto.ads.store.nodes import count_campaigns
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.actions import load_channel
from contatto.channels.model import ChannelAccount
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement.model import Goal


def find_channel(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """A channel account by our id of it, or by its platform's.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_channel(tx, business_id, account_id, "identity_id")


def choose_account(
    tx: Tx, ad_account: AdAccount, countries: tuple[str, ...], goal: Goal, account_id: str | None
) -> ChannelAccount:
    """The channel account that was named, else the first for which nothing stands in the goal's way.

    Raises:
        Refused: NOT_FOUND, or INVALID when the business has no channel account at all.
    """
    if account_id:
        return find_channel(tx, ad_account.business_id, account_id)
    known = channels.list_accounts(tx, ad_account.business_id)
    if not known:
        raise Refused(errors.INVALID, "identity_id: this business has no channel account yet.")

    capturing = capture.list_capturing(tx, ad_account.business_id)

    def hurdles(account: ChannelAccount) -> int:
        facts = facts_of(ad_account, account, countries, capture_on=account.id in capturing)
        failed = sum(not result.passed for result in goals.eligibility(goal, facts))
        return failed * 2 + len(goals.next_steps(goal, facts))

    return min(known, key=hurdles)


def load_facts(tx: Tx, ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...]) -> Facts:
    """What the checks of a goal need to know."""
    capture_on = capture.is_capture_on(tx, channel.business_id, channel.id)
    return facts_of(ad_account, channel, countries, capture_on=capture_on)


def facts_of(
    ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...], *, capture_on: bool
) -> Facts:
    """The same from what was read; for many ads, whose switches are read at once."""
    return Facts(
        channel_account_id=channel.id,
        account_country=channel.registration_country,
        ad_account_country=ad_account.country,
        target_countries=countries,
        capture_on=capture_on,
    )


def load_ad_account(tx: Tx, business_id: str, ad_account_id: str) -> AdAccount:
    """An ad account by our id of it.

    Raises:
        Refused: NO_ADVERTISER.
    """
    account = accounts.find_ad_account(tx, BusinessId(business_id), ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


def is_counted(tx: Tx, account: AdAccount) -> bool:
    """Whether there is money or a day to count in an ad account: it has, or had, a campaign."""
    return (
        count_campaigns(tx, account.business_id, account.id, NodeFilter(statuses=frozenset(NodeStatus))) > 0
    )


def correct_advertiser(tx: Tx, business_id: BusinessId, ad_account_id: str, new: NewAdAccount) -> None:
    """Correct what was mistyped of an ad account.

    Its money is counted in its currency and its days in its zone, so both stay from the first campaign on.

    Raises:
        Refused: NO_ADVERTISER; INVALID; CONFLICT, when it is too late for the currency or the zone.
    """
    account = load_ad_account(tx, business_id, ad_account_id)
    is_recounted = (new.currency.strip().upper(), new.timezone) != (account.currency, account.timezone)
    if is_recounted and is_counted(tx, account):
        raise Refused(
            errors.CONFLICT,
            "Currency and time zone cannot change, because this ad account already has campaigns.",
        )
    correct_ad_account(tx, account, new)
