"""The demo's business: members, accounts, campaigns, form and keys."""

import random
import secrets
from dataclasses import dataclass
from typing import Any, Final

from itsdangerous import Signer

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import AdAccount, Business, Permission, Role
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.ads.actions.publishing import NewWelcome, create_welcome_message
from contatto.ads.model import Ad, AdGroup
from contatto.capture import actions as capture
from contatto.capture.actions import CompanyData
from contatto.channels import actions as channels
from contatto.channels.actions import NewAccount
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.forms import actions as forms
from contatto.forms.model import FormVersion
from contatto.forms.rules.drafts import change_content, edit_content
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket
from contatto.simulator.people import HOME, OFFER, STORY, Appeal, ChatLine, PlannedVisitor, email, phrases_of

P_FORM: Final = 0.6
"""Share of people with a contact detail on our own page who fill in the form too."""
_CHANGES: Final = (
    "add:choice",
    "up:q4",
    "up:q4",
    "up:q4",
    "add_option:q4",
    "add:number",
    "add_consent",
    "add_consent",
)
_TYPED: Final = {
    "w:headline": ["Get a quote for your kitchen"],
    "w:intro": ["A few short questions. We answer here, within a day."],
    "w:benefits": ["Free measuring at home\nA price within 24 hours\nNo obligation"],
    "w:submit": ["Ask for my quote"],
    "w:q4.label": ["What do you need?"],
    "w:q4.option.a": ["A new kitchen"],
    "w:q4.option.b": ["New doors only"],
    "w:q4.option.c": ["I am just looking"],
    "q:q4:sent": ["1"],
    "q:q4:required": ["1"],
    "q:q4:a:score": ["10"],
    "q:q4:b:score": ["5"],
    "q:q3:sent": ["1"],
    "q:q3:country": [HOME[Platform.WEBCHAT]],
    "w:q5.label": ["How many metres of wall?"],
    "q:q5:sent": ["1"],
    "q:q5:low": ["1"],
    "q:q5:high": ["30"],
    "q:q5:show": ["q4=a"],
    "w:c1.text": ["I agree that Harbour Kitchens contacts me about this quote."],
    "c:c1:sent": ["1"],
    "c:c1:required": ["1"],
    "w:c2.text": ["Send me ideas and offers now and then."],
    "w:thanks_text": ["We write to you here with a first price soon."],
}


@dataclass(frozen=True, slots=True)
class FormEntry:
    """Answers of one person to the form, and the contact details in them."""

    answers: dict[str, Any]
    consents: tuple[str, ...]
    contacts: tuple[str, ...]


def publish_quote_form(tx: Tx, business_id: str, channel_account_id: str) -> FormVersion:
    """Create the world's form as a member would, publish it, and show it in an account's chats."""
    form = forms.create_form(tx, business_id, "Kitchen quote", country=HOME[Platform.WEBCHAT])
    content = form.draft
    for change in _CHANGES:
        content = change_content(content, change)
    form = forms.save_draft(tx, form, edit_content(content, _TYPED, "en"), form.revision, "simulator")
    version = forms.publish_form(tx, business_id, form.id, form.revision, "Owner")
    forms.set_default_form(tx, business_id, channel_account_id, form.id)
    return version


def plan_form_entry(visitor: PlannedVisitor, lines: tuple[ChatLine, ...]) -> FormEntry | None:
    """Plan a person's form entry, the same each time; most people have none."""
    rng = random.Random(f"form of {visitor.viewer_id}")
    numbers = [line.contact for line in lines if line.contact.startswith("+")]
    if visitor.platform is not Platform.WEBCHAT or not numbers or rng.random() >= P_FORM:
        return None
    address = email(rng, visitor.handle)
    need = rng.choice(("a", "a", "b"))
    answers = {
        "q1": visitor.handle.replace("_", " ").replace(".", " ").title(),
        "q2": address.shown,
        "q3": numbers[0],
        "q3.country": visitor.country,
        "q4": need,
        "q5": str(rng.randint(2, 9)) if need == "a" else "",
    }
    news = ("c2",) if rng.random() < 0.4 else ()
    return FormEntry(answers, ("c1", *news), (address.value, numbers[0]))


BUSINESS: Final = "Harbour Kitchens"
COMPANY: Final = CompanyData(BUSINESS, "https://example.com", "https://example.com/privacy")
TIMEZONE: Final = "Asia/Singapore"
COUNTRIES: Final = ("SG", "MY", "ID", "TH", "VN", "PH")
BUDGET_MICROS: Final = 45_000_000
"""Budget of an ad group for a day, which buys most of the places that people offer."""
_MEMBERS: Final = ((Role.OWNER, "Owner"), (Role.AGENT, "Sales desk"), (Role.ANALYST, "Analyst"))
_AD_GROUPS: Final = {
    (Goal.LEAD, Platform.WEBCHAT): "Quote requests, own chat",
    (Goal.LEAD, Platform.TIKTOK): "Quote requests, TikTok",
    (Goal.CONVERSATION, Platform.WEBCHAT): "Design questions, own chat",
    (Goal.CONVERSATION, Platform.TIKTOK): "Design questions, TikTok",
}
_CAMPAIGNS: Final = {Goal.LEAD: "Kitchens: leads", Goal.CONVERSATION: "Kitchens: conversations"}
_WELCOME: Final = NewWelcome(
    "Harbour Kitchens",
    "Hello! Tell us about your kitchen, we answer here.",
    (
        ("What does a kitchen cost?", "From 6,000 dollars. Send us its size and we tell you more."),
        ("How long does it take?", "21 days from the measuring to the last door."),
    ),
)
_ADS: Final = (
    ("Free measuring, oak", "Free measuring this month", "Send us a message, get a quote in a day.", OFFER),
    ("Small flat, big kitchen", "Big kitchen for a small flat", "Tell us your size, we send it.", OFFER),
    ("Sea green before and after", "From old to sea green", "Ask us anything about colours.", STORY),
    ("How long does it take?", "Done in 21 days", "Write to us: we show you every step.", STORY),
)
"""Each ad group has all of them; its goal decides which ad a person sees."""


@dataclass(frozen=True, slots=True)
class Login:
    """Login of a member, with the password in clear: this is a demo."""

    role: str
    email: str
    password: str
    password_hash: str = ""


@dataclass(frozen=True, slots=True)
class AdOfWorld:
    """An ad as people meet it; ``chat_path`` is its tap link, which counts each person once a day."""

    ad_id: str
    adgroup_id: str
    adgroup_name: str
    goal: Goal
    platform: Platform
    chat_path: str
    name: str = ""

    @property
    def appeal(self) -> Appeal:
        """Return how this ad speaks to people."""
        return next((appeal for name, _, _, appeal in _ADS if name == self.name), STORY)


@dataclass(frozen=True, slots=True)
class DemoWorld:
    """All that traffic and people need to know of the business."""

    business_id: str
    business_name: str
    advertiser_id: str
    access_token: str
    app_id: str
    app_secret: str
    logins: tuple[Login, ...]
    accounts: dict[Platform, ChannelAccount]
    ads: tuple[AdOfWorld, ...]
    page_id: str
    """The instant form of the ads for leads."""
    auto_message_id: str
    """The welcome message of the ads."""

    def login(self, role: Role) -> Login:
        return next(login for login in self.logins if login.role == role)

    def ad(self, ad_id: str) -> AdOfWorld:
        return next(ad for ad in self.ads if ad.ad_id == ad_id)

    @property
    def chat_path(self) -> str:
        """Return the tap link of an ad for leads that leads to our own chat page."""
        target = (Goal.LEAD, Platform.WEBCHAT)
        return next(ad.chat_path for ad in self.ads if (ad.goal, ad.platform) == target)


def invent_logins() -> tuple[Login, ...]:
    """Invent members with passwords; hashing is slow, so call it outside of transactions."""
    words = phrases_of("words")

    def password() -> str:
        parts = (secrets.choice(words["first"]), secrets.choice(words["second"]))
        return f"{parts[0]}-{parts[1]}-{secrets.randbelow(9_000) + 1_000}"

    logins: list[Login] = []
    for role, _ in _MEMBERS:
        chosen = password()
        logins.append(Login(role, f"{role}@harbour.example.com", chosen, accounts.hash_password(chosen)))
    return tuple(logins)


def build_world(tx: Tx, logins: tuple[Login, ...], tracking: Signer) -> DemoWorld:
    """Create the business and its ads in one transaction, through the same actions as ever."""
    business = accounts.create_business(tx, BUSINESS)
    for (role, name), login in zip(_MEMBERS, logins, strict=True):
        accounts.add_member(tx, business.id, NewMember(login.email, name, role, ""), login.password_hash)
    new_account = NewAdAccount(f"{BUSINESS} Singapore", "SG", "SGD", TIMEZONE)
    ad_account = accounts.add_ad_account(tx, business.id, new_account)
    _, token = accounts.issue_token(tx, business.id, "Demo", [scope.value for scope in Permission])
    app = ChannelApp(str(secrets.randbelow(9 * 10**15) + 10**15), business.id, Platform.TIKTOK, _secret())
    channels.register_app(tx, app)
    homes = {platform: _connect(tx, business, platform) for platform in HOME}
    channels.set_access_token(tx, business.id, homes[Platform.TIKTOK].id, _secret())
    page_id = str(publish_quote_form(tx, business.id, homes[Platform.WEBCHAT].id).number)
    auto_message_id = str(create_welcome_message(tx, ad_account, _WELCOME).number)
    return DemoWorld(
        business_id=business.id,
        business_name=business.name,
        advertiser_id=str(ad_account.number),
        access_token=token,
        app_id=app.app_id,
        app_secret=app.secret,
        logins=tuple(Login(login.role, login.email, login.password) for login in logins),
        accounts=homes,
        ads=tuple(_launch(tx, ad_account, (homes, page_id, auto_message_id), tracking)),
        page_id=page_id,
        auto_message_id=auto_message_id,
    )


def _secret() -> str:
    return secrets.token_hex(20)


def _connect(tx: Tx, business: Business, platform: Platform) -> ChannelAccount:
    external_id = secrets.token_hex(16) if platform is Platform.TIKTOK else ""
    new = NewAccount(platform, external_id, BUSINESS, "harbour.kitchens.example", HOME[platform])
    account = channels.connect_account(tx, business.id, new)
    capture.turn_on_capture(tx, business.id, account.id, COMPANY)
    return account


def _launch(
    tx: Tx, ad_account: AdAccount, places: tuple[dict[Platform, ChannelAccount], str, str], tracking: Signer
) -> list[AdOfWorld]:
    """Create a campaign for each goal, an ad group for each channel in it, and its ads."""
    homes, page_id, auto_message_id = places
    ads: list[AdOfWorld] = []
    for goal, campaign_name in _CAMPAIGNS.items():
        campaign = create_campaign(tx, ad_account.business_id, NewCampaign(ad_account.id, campaign_name))
        for platform, account in homes.items():
            new = NewAdGroup(
                campaign.id,
                _AD_GROUPS[goal, platform],
                goal,
                COUNTRIES,
                account.id,
                budget_micros=BUDGET_MICROS,
                page_id=page_id if goal is Goal.LEAD else "",
            )
            ad_group = create_ad_group(tx, ad_account.business_id, new)
            for name, headline, text, _ in _ADS:
                new_ad = NewAd(ad_group.id, name, text, headline, auto_message_id=auto_message_id)
                ad = create_ad(tx, ad_account.business_id, new_ad)
                ads.append(_shown(ad, ad_group, platform, tracking))
    return ads


def _shown(ad: Ad, ad_group: AdGroup, platform: Platform, tracking: Signer) -> AdOfWorld:
    ticket = sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), tracking)
    path, goal = f"/t/c/{ticket}", ad_group.goal
    return AdOfWorld(str(ad.number), str(ad_group.number), ad_group.name, goal, platform, path, ad.name)
