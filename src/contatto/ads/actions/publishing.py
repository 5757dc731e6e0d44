"""Ad accounts, channel accounts, welcome messages and audiences that ads use."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.actions import NewAdAccount, correct_ad_account
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store
from contatto.ads.model import (
    Ad,
    AdGroup,
    BudgetMode,
    Campaign,
    Facts,
    NodeFilter,
    NodeStatus,
    Page,
    Spent,
    WelcomeMessage,
)
from contatto.ads.rules.goals import (
    Above,
    Node,
    add_spent,
    build_outline,
    check_welcome,
    eligibility,
    next_steps,
)
from contatto.ads.rules.settings import NEW_MESSAGE, AdForm, name_apart, read_questions, window_seconds
from contatto.ads.store import (
    SpendPort,
    count_campaigns,
    list_ads_by_name,
    list_welcome_messages,
    load_ad_groups,
)
from contatto.audiences import actions as audiences
from contatto.audiences.model import Audience
from contatto.audiences.rules import source_number
from contatto.audiences.store import list_audiences
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.actions import load_channel
from contatto.channels.model import ChannelAccount
from contatto.forms.actions import find_published
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.numbers import read_number
from contatto.kit.timestamps import micros
from contatto.measurement import actions as measurement
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.rules import local_day


def find_channel(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """Return a channel account by our id of it, or by its platform's.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_channel(tx, business_id, account_id, "identity_id")


def choose_account(
    tx: Tx, ad_account: AdAccount, countries: tuple[str, ...], goal: Goal, account_id: str | None
) -> ChannelAccount:
    """Return the channel account that was named, else the first for which nothing stands in the goal's way.

    Raises:
        Refused: NOT_FOUND, or INVALID when the business has no channel account at all.
    """
    if account_id:
        return find_channel(tx, ad_account.business_id, account_id)
    accounts = channels.list_accounts(tx, ad_account.business_id)
    if not accounts:
        raise Refused(errors.INVALID, "identity_id: this business has no channel account yet.")

    capturing = capture.list_capturing(tx, ad_account.business_id)

    def hurdles(account: ChannelAccount) -> int:
        facts = facts_of(ad_account, account, countries, capture_on=account.id in capturing)
        failed = sum(not result.passed for result in eligibility(goal, facts))
        return failed * 2 + len(next_steps(goal, facts))

    return min(accounts, key=hurdles)


def load_facts(tx: Tx, ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...]) -> Facts:
    """Load the facts that the checks of a goal need."""
    capture_on = capture.is_capture_on(tx, channel.business_id, channel.id)
    return facts_of(ad_account, channel, countries, capture_on=capture_on)


def facts_of(
    ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...], *, capture_on: bool
) -> Facts:
    """Make the facts of a goal from loaded values; many ads share one read of the switches."""
    return Facts(
        channel_account_id=channel.id,
        account_country=channel.registration_country,
        ad_account_country=ad_account.country,
        target_countries=countries,
        capture_on=capture_on,
    )


def load_ad_account(tx: Tx, business_id: str, ad_account_id: str) -> AdAccount:
    """Return an ad account by our id of it.

    Raises:
        Refused: NO_ADVERTISER.
    """
    account = accounts.find_ad_account(tx, BusinessId(business_id), ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


def is_counted(tx: Tx, account: AdAccount) -> bool:
    """Report whether an ad account has, or had, a campaign, so that its money and days count."""
    return (
        count_campaigns(tx, account.business_id, account.id, NodeFilter(statuses=frozenset(NodeStatus))) > 0
    )


def correct_advertiser(tx: Tx, business_id: BusinessId, ad_account_id: str, new: NewAdAccount) -> None:
    """Correct mistyped settings of an ad account.

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


EVERY_STATUS: Final = frozenset(NodeStatus)
NO_PAGES: Final = Page(1, 1_000_000)


def publish_ads(tx: Tx, account: AdAccount, node_filter: NodeFilter) -> None:
    """Publish the ads of an ad account that are wanted, as they are now."""
    ads = store.list_ads(tx, account.business_id, account.id, node_filter, NO_PAGES)
    campaigns = store.load_campaigns(tx, account.business_id, {ad.campaign_id for ad in ads})
    groups = store.load_ad_groups(tx, account.business_id, {ad.ad_group_id for ad in ads})
    for ad in ads:
        channel = find_channel(tx, account.business_id, ad.channel_account_id)
        homes = (account, channel)
        above = (groups[ad.ad_group_id], campaigns[ad.campaign_id])
        publish_one_ad(tx, ad, *above, homes)


def publish_one_ad(
    tx: Tx, ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> None:
    """Publish an ad as it is now; ``homes`` are its ad account and its channel account."""
    measured = measured_ad(ad, ad_group, campaign, homes)
    message = find_welcome(tx, ad)
    if message is not None:
        measured = replace(
            measured, welcome=message.content, questions=message.questions, answers=message.answers
        )
    measurement.publish_ad(tx, measured)


def find_welcome(tx: Tx, ad: Ad) -> WelcomeMessage | None:
    """Return the welcome message that an ad names, if its ad account has it."""
    number = read_number(ad.auto_message_id)
    if not number:
        return None
    welcome_messages = list_welcome_messages(tx, ad.business_id, ad.ad_account_id, [number])
    return welcome_messages[0] if welcome_messages else None


def measured_ad(
    ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> MeasuredAd:
    """Return the measured values of an ad without its welcome message; ``homes`` as above."""
    account, channel = homes
    return MeasuredAd(
        ad_id=ad.id,
        ad_number=ad.number,
        ad_name=ad.name,
        ad_group_id=ad_group.id,
        ad_group_number=ad_group.number,
        ad_group_name=ad_group.name,
        campaign_id=campaign.id,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        business_id=ad.business_id,
        ad_account_id=account.id,
        channel_account_id=channel.id,
        goal=ad_group.goal,
        click_window_s=window_seconds(ad_group.click_window),
        view_window_s=window_seconds(ad_group.view_window),
        timezone=account.timezone,
        currency=account.currency,
        landing_path=channels.landing_path(channel),
        headline=ad.headline,
        text=ad.text,
        page_id=ad.page_id or ad_group.page_id,
    )


def name_ads(tx: Tx, business_id: str, ads: Collection[Ad]) -> dict[int, str]:
    """Return the names of ads of a business by their numbers; equal names get a distinction."""
    namesakes = list_ads_by_name(tx, business_id, {ad.name for ad in ads})
    names = name_apart(namesakes, load_ad_groups(tx, business_id, {ad.ad_group_id for ad in namesakes}))
    return {ad.number: names[ad.number] for ad in ads}


def load_outline(tx: Tx, account: AdAccount) -> list[Node]:
    """Return all that is not deleted, newest first."""
    scope = (account.business_id, str(account.id), NodeFilter(), NO_PAGES)
    campaigns = store.list_campaigns(tx, *scope)
    groups = _load_above(tx, account, store.list_ad_groups(tx, *scope), {one.id: one for one in campaigns})
    return build_outline(campaigns, groups, store.list_ads(tx, *scope), tx.now)


def _load_above(
    tx: Tx, account: AdAccount, groups: list[AdGroup], campaigns: dict[str, Campaign]
) -> list[tuple[AdGroup, Above]]:
    """Return each ad group with what its delivery depends on."""
    day = local_day(micros(tx.now), account.timezone)
    shared = [name for name, campaign in campaigns.items() if campaign.budget_micros is not None]
    under = store.list_ad_group_ids(tx, account.business_id, shared) if shared else {}
    names = {group.id for group in groups}.union(*under.values())
    spent = tx.ports[SpendPort].list_spent(tx, account.business_id, names, day)
    of_campaign = {
        campaign_id: add_spent([spent.get(name, Spent()) for name in groups_under])
        for campaign_id, groups_under in under.items()
    }
    facts_by_country: dict[tuple[str, tuple[str, ...]], Facts] = {}
    groups_above: list[tuple[AdGroup, Above]] = []
    for group in groups:
        key = (group.channel_account_id, group.countries)
        if key not in facts_by_country:
            channel = find_channel(tx, account.business_id, group.channel_account_id)
            facts_by_country[key] = load_facts(tx, account, channel, group.countries)
        of_group = spent.get(group.id, Spent())
        ever = of_group.ever_micros if group.budget_mode is BudgetMode.TOTAL else 0
        if group.campaign_id in campaigns:
            shared_spent = of_campaign.get(group.campaign_id, Spent())
            above = Above(
                campaigns[group.campaign_id], facts_by_country[key], of_group.day_micros, ever, shared_spent
            )
            groups_above.append((group, above))
    return groups_above


@dataclass(frozen=True, slots=True)
class NewWelcome:
    """A welcome message to make; each question stands with its answer."""

    title: str
    content: str
    questions: tuple[tuple[str, str], ...]


def create_welcome_message(tx: Tx, account: AdAccount, new: NewWelcome) -> WelcomeMessage:
    """Make a welcome message; it may be used at once.

    Raises:
        Refused: INVALID.
    """
    content = new.content.strip()
    pairs = [(question.strip(), answer.strip()) for question, answer in new.questions]
    check_welcome(content, pairs)
    message = WelcomeMessage(
        id=new_id(),
        business_id=account.business_id,
        number=new_number(),
        ad_account_id=account.id,
        title=new.title.strip(),
        content=content,
        questions=tuple(question for question, _ in pairs),
        answers=tuple(answer for _, answer in pairs),
        created_at=tx.now,
    )
    store.save_welcome_message(tx, message)
    return message


_FIELDS = {"welcome_message.content": "welcome", "welcome_message.suggested_questions": "questions"}


def list_first_messages(tx: Tx, account: AdAccount) -> list[WelcomeMessage]:
    """Return the welcome messages of an ad account that an ad may open with, newest first."""
    return list_welcome_messages(tx, account.business_id, account.id)


def check_message(tx: Tx, account: AdAccount, auto_message_id: str) -> None:
    """Refuse a welcome message that the ad account does not have; an empty id names none.

    Raises:
        Refused: INVALID.
    """
    number = read_number(auto_message_id)
    welcome_messages = list_welcome_messages(tx, account.business_id, account.id, [number]) if number else []
    if auto_message_id and not welcome_messages:
        raise Refused(errors.INVALID, "auto_message_id: welcome message not found.")


def check_form(tx: Tx, business_id: str, page_id: str) -> None:
    """Refuse a form that the business has not published; an empty id names none.

    Raises:
        Refused: INVALID.
    """
    if page_id and find_published(tx, business_id, page_id) is None:
        raise Refused(errors.INVALID, "page_id: published form not found.")


def choose_first_message(tx: Tx, account: AdAccount, form: AdForm) -> str:
    """Return the ``auto_message_id`` that a form chooses; a message that was written in it is made.

    Raises:
        Refused: INVALID.
    """
    chosen = form.auto_message_id
    if chosen == NEW_MESSAGE:
        content = form.welcome.strip()
        try:
            welcome_message = create_welcome_message(
                tx,
                account,
                NewWelcome(content.splitlines()[0] if content else "", content, read_questions(form)),
            )
        except Refused as refused:
            raise _beside_its_field(refused) from refused
        return str(welcome_message.number)
    if chosen and chosen not in {str(one.number) for one in list_first_messages(tx, account)}:
        raise Refused(errors.INVALID, "auto_message_id: choose one from the list.")
    return chosen


def _beside_its_field(refused: Refused) -> Refused:
    """Return the API's name of a part of a message as the field of the form that holds it."""
    field = str(refused.values.get("field", ""))
    name = next(
        (
            field_of_form
            for field_of_message, field_of_form in _FIELDS.items()
            if field.startswith(field_of_message)
        ),
        field,
    )
    return Refused(refused.code, refused.text, **refused.values | {"field": name})


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
