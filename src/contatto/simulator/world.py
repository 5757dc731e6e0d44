"""Demo world: its business and ads, and the people who meet them."""

import math
import random
import secrets
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from itsdangerous import Signer

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Permission, Role
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.ads.actions.edits import create_welcome_message
from contatto.capture import actions as capture
from contatto.capture.actions import CompanyData
from contatto.channels import actions as channels
from contatto.channels.actions import NewAccount
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.forms import actions as forms
from contatto.forms.rules.drafts import change_content, edit_content
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket


class Intent(StrEnum):
    """Reason of a person to look at an ad; no publisher sees it."""

    PLAN = "plan"
    """They are about to buy a kitchen."""
    LOOK = "look"
    """They like to look at kitchens, and to talk about them."""


@dataclass(frozen=True, slots=True)
class Traits:
    """A publisher's knowledge of a person who gave consent."""

    age: int
    device: str
    follows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Appeal:
    """Effect of an ad: factors of how likely people tap, and how likely they share."""

    taps: dict[Intent, float]
    shares: float


OFFER: Final = Appeal({Intent.PLAN: 1.3, Intent.LOOK: 0.7}, 1.15)
"""It promises a price, a visit, an answer in a day."""
STORY: Final = Appeal({Intent.PLAN: 0.8, Intent.LOOK: 1.3}, 0.9)
"""It shows how a kitchen became another."""
P_SHARE: Final = {Intent.PLAN: 0.66, Intent.LOOK: 0.18}
"""Share of chats with a contact detail, whatever the ad."""
P_CONSENT: Final = 0.9
_USUAL_FLOOR: Final = 40_000_000
_DEARER: Final = 1.25
_FLOOR_SPREAD: Final = 0.5
KEEN_TOPICS: Final = ("renovation", "new home")
"""Those who follow them plan a kitchen more often."""
_TOPICS: Final = (*KEEN_TOPICS, "cooking", "football", "travel")
_DEVICES: Final = ("phone", "tablet", "desktop"), (78, 8, 14)
"""Devices, and how many in a hundred people have each."""


@dataclass(frozen=True, slots=True)
class PhoneMarket:
    """Form of mobile numbers: country code, trunk prefix, first digits, lengths of the groups."""

    code: str
    trunk: str
    first: tuple[str, ...]
    groups: tuple[int, ...]


MARKETS: Final = {
    "SG": PhoneMarket("65", "", ("81", "82", "83", "91", "92", "93", "96", "97"), (4, 4)),
    "MY": PhoneMarket("60", "0", ("122", "133", "163", "174", "192"), (2, 3, 4)),
    "ID": PhoneMarket("62", "0", ("812", "813", "821", "852"), (3, 4, 4)),
    "TH": PhoneMarket("66", "0", ("81", "86", "89", "95"), (2, 3, 4)),
    "VN": PhoneMarket("84", "0", ("90", "91", "93", "97"), (2, 3, 4)),
    "PH": PhoneMarket("63", "0", ("917", "918", "927", "928"), (3, 3, 4)),
}
"""Source: national numbering plans, mobile ranges in wide use."""

_DOMAINS: Final = ("example.com", "example.net", "example.org", "mail.example.com")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact detail: ``value`` is E.164 or an address, ``shown`` is how it is typed.

    Lines of the ``kind`` share it.
    """

    value: str
    shown: str
    kind: str


def phone(rng: random.Random, country: str, account_country: str) -> Contact:
    """Draw a mobile number; without its country code, mostly, where the business is at home."""
    market = MARKETS[country]
    start = rng.choice(market.first)
    digits = start + "".join(str(rng.randint(0, 9)) for _ in range(sum(market.groups) - len(start)))
    parts: list[str] = []
    done = 0
    for size in market.groups:
        parts.append(digits[done : done + size])
        done += size
    gap = rng.choice((" ", "-", " ", ""))
    written = gap.join(parts)
    at_home = country == account_country and rng.random() < 0.7
    shown = f"{market.trunk}{written}" if at_home else f"+{market.code} {written}"
    return Contact(f"+{market.code}{digits}", shown, "phones")


def email(rng: random.Random, owner: str) -> Contact:
    """Draw an address at an example domain, made of the owner's handle."""
    address = f"{owner.replace('_', rng.choice(('.', '_', '')))}@{rng.choice(_DOMAINS)}"
    return Contact(address, address, "emails")


@cache
def phrases_of(language: str) -> dict[str, list[str]]:
    """Return the lines of a language by kind, such as ``openers`` or ``phones``."""
    text = (files("contatto.simulator") / "lines" / f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def say(rng: random.Random, language: str, kind: str, contact: str = "") -> str:
    """Draw a line of a kind, and put in a contact detail or unused digits."""
    line = rng.choice(phrases_of(language)[kind])
    while "{n}" in line:
        line = line.replace("{n}", str(rng.randint(12, 4_800)), 1)
    return line.replace("{contact}", contact)


HOME: Final = {Platform.WEBCHAT: "SG", Platform.TIKTOK: "MY"}
"""The registration country of the business's account on each platform."""

_COUNTRIES: Final = {
    Platform.WEBCHAT: (("SG", 62), ("MY", 14), ("ID", 9), ("PH", 7), ("TH", 4), ("VN", 4)),
    Platform.TIKTOK: (("MY", 52), ("SG", 14), ("ID", 14), ("TH", 8), ("VN", 6), ("PH", 6)),
}
_LANGUAGES: Final = {
    "SG": ("en", "en", "en", "zh", "ms"),
    "MY": ("ms", "ms", "en", "zh"),
    "ID": ("id",),
    "TH": ("th",),
    "VN": ("vi",),
    "PH": ("tl", "en"),
}
_BUSY_HOURS: Final = (5, 4, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 8, 7, 6, 6, 6, 7, 8, 9, 10, 10, 8, 6)
"""Weights of the hours of a day by how many people look at their phones."""
_DAY_S: Final = 86_400
_MOST_VIEWS: Final = 6
_P_TAP: Final = 0.2
_P_CHAT: Final = 0.84
_P_SPAM: Final = 0.04
_MOST_APPEAL: Final = max(*OFFER.taps.values(), *STORY.taps.values())


@dataclass(frozen=True, slots=True)
class ChatLine:
    """A message: seconds after the one before it, its text, and the contact detail that it shares.

    A ``sharing`` line belongs to the part from the question for contact details to the thanks.
    """

    after_s: float
    text: str
    from_business: bool = False
    contact: str = ""
    sharing: bool = False


@dataclass(frozen=True, slots=True)
class AdMoment:
    """A moment at which an ad may be shown, in seconds from the beginning."""

    at_s: float
    floor_micros: int
    """Price of a thousand views that the other bidders for this place would pay."""
    laziness: float
    """From 0 to 1; the lazier, the likelier the person taps no ad this time."""


@dataclass(frozen=True, slots=True)
class PlannedVisitor:
    """A person and the plan of a visit.

    A publisher knows the ``traits`` of people with ``consent``, and never the ``intent``. ``reserve`` is
    their reluctance to share a contact detail, from 0 to 1. With ``twice`` or ``disorderly`` the platform
    delivers their messages badly.
    """

    viewer_id: str
    handle: str
    language: str
    country: str
    platform: Platform
    looks: tuple[AdMoment, ...]
    traits: Traits
    intent: Intent
    consent: bool
    tap_after_s: float
    lines: tuple[ChatLine, ...]
    reserve: float
    twice: bool
    disorderly: bool

    def taps(self, look: AdMoment, appeal: Appeal) -> bool:
        """Report whether this person taps an ad of this appeal."""
        return look.laziness < _P_TAP * appeal.taps[self.intent]

    def lines_after(self, appeal: Appeal) -> tuple[ChatLine, ...]:
        """Return what this person writes and is answered after such an ad."""
        shares = self.reserve < P_SHARE[self.intent] * appeal.shares
        return tuple(line for line in self.lines if shares or not line.sharing)


def plan_people(seed: int, count: int, span_s: float) -> list[PlannedVisitor]:
    """Plan the people who are offered an ad within a span of seconds from a midnight in Singapore.

    The same seed gives the same people, by their first moment.
    """
    rng = random.Random(seed)
    people: list[PlannedVisitor] = []
    for _ in range(count):
        platform = Platform.WEBCHAT if rng.random() < 0.55 else Platform.TIKTOK
        names, weights = zip(*_COUNTRIES[platform], strict=True)
        country = rng.choices(names, weights)[0]
        words = phrases_of("words")
        name = f"{rng.choice(words['first'])}_{rng.choice(words['second'])}{rng.randint(1, 99)}"
        device = rng.choices(*_DEVICES)[0]
        traits = Traits(rng.randint(19, 68), device, (rng.choice(_TOPICS),))
        is_keen = traits.follows[0] in KEEN_TOPICS
        # Followers of renovation plan a kitchen more often, and more so past thirty.
        chance = 0.08
        if is_keen:
            chance = 0.8 if traits.age >= 30 else 0.45
        intent = Intent.PLAN if rng.random() < chance else Intent.LOOK
        # People look at their phones at random moments, more often in the evening.
        moments: list[float] = []
        busiest, views = max(_BUSY_HOURS), rng.randint(1, _MOST_VIEWS)
        while len(moments) < views:
            moment = rng.uniform(0, span_s)
            hour = int(moment % _DAY_S // 3600)
            if rng.random() * busiest < _BUSY_HOURS[hour]:
                moments.append(moment)
        looks: list[AdMoment] = []
        for moment in sorted(moments):
            # What other bidders pay is more where a new kitchen is likely.
            usual = _USUAL_FLOOR * (_DEARER if is_keen else 1.0)
            floor_micros = round(usual * math.exp(rng.gauss(0.0, _FLOOR_SPREAD)))
            looks.append(AdMoment(moment, floor_micros, rng.random()))
        may_tap = any(look.laziness < _P_TAP * _MOST_APPEAL for look in looks)
        language = rng.choice(_LANGUAGES[country])
        visitor = PlannedVisitor(
            viewer_id=f"{'_000' if platform is Platform.TIKTOK else 'v-'}{rng.getrandbits(96):024x}",
            handle=name,
            language=language,
            country=country,
            platform=platform,
            looks=tuple(looks),
            traits=traits,
            intent=intent,
            consent=rng.random() < P_CONSENT,
            tap_after_s=rng.uniform(2, 25),
            lines=tuple(_plan_lines(rng, language, country, platform, name)) if may_tap else (),
            reserve=rng.random(),
            twice=rng.random() < 0.2,
            disorderly=rng.random() < 0.15,
        )
        people.append(visitor)
    return sorted(people, key=lambda visitor: visitor.looks[0].at_s)


def _plan_lines(
    rng: random.Random, language: str, country: str, platform: Platform, owner: str
) -> list[ChatLine]:
    """Plan a chat: an opening, questions, and for most people the part that shares contact details."""

    def speak(kind: str, contact: Contact | None = None, *, from_business: bool = False) -> ChatLine:
        pause = rng.uniform(40, 400) if from_business else rng.uniform(8, 150)
        text = say(rng, language, kind, contact.shown if contact else "")
        return ChatLine(pause, text, from_business, contact.value if contact else "")

    if rng.random() >= _P_CHAT:
        return []
    if rng.random() < _P_SPAM:
        return [speak("spam")]
    lines = [speak("openers")]
    if rng.random() < 0.6:
        lines.append(speak("answers", from_business=True))
    lines += [speak(rng.choice(("questions", "questions", "talk"))) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.15:
        lines.append(speak("numbers"))
    sharing = [speak("asks", from_business=True)] if rng.random() < 0.7 else []
    number, address = phone(rng, country, HOME[platform]), email(rng, owner)
    first, second = (number, address) if rng.random() < 0.75 else (address, number)
    sharing.append(speak(first.kind, first))
    if rng.random() < 0.2:
        sharing.append(speak(second.kind, second))
    elif rng.random() < 0.1:
        sharing.append(speak(first.kind, first))
    if rng.random() < 0.95:
        sharing.append(speak("thanks", from_business=True))
    return lines + [replace(line, sharing=True) for line in sharing]


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
class FilledForm:
    """Answers of one person to the form, and the contact details in them."""

    answers: dict[str, Any]
    consents: tuple[str, ...]
    contacts: tuple[str, ...]


def plan_form_entry(visitor: PlannedVisitor, lines: tuple[ChatLine, ...]) -> FilledForm | None:
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
    return FilledForm(answers, ("c1", *news), (address.value, numbers[0]))


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
_WELCOME: Final = (
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

    def appeal_of(self, ad_id: str) -> Appeal:
        """Return how an ad speaks to people."""
        ad_name = next(ad.name for ad in self.ads if ad.ad_id == ad_id)
        return next((appeal for name, _, _, appeal in _ADS if name == ad_name), STORY)


def invent_logins() -> tuple[Login, ...]:
    """Invent members with passwords; hashing is slow, so call it outside of transactions."""
    words, logins = phrases_of("words"), list[Login]()
    for role, _ in _MEMBERS:
        parts = secrets.choice(words["first"]), secrets.choice(words["second"])
        password = f"{parts[0]}-{parts[1]}-{secrets.randbelow(9_000) + 1_000}"
        logins.append(Login(role, f"{role}@harbour.example.com", password, accounts.hash_password(password)))
    return tuple(logins)


def build_world(tx: Tx, logins: tuple[Login, ...], tracking: Signer) -> DemoWorld:
    """Create the business and its ads in one transaction, through the same actions as ever."""
    business = accounts.create_business(tx, BUSINESS)
    for (role, name), login in zip(_MEMBERS, logins, strict=True):
        accounts.add_member(tx, business.id, NewMember(login.email, name, role), login.password_hash)
    new_account = NewAdAccount(f"{BUSINESS} Singapore", "SG", "SGD", TIMEZONE)
    ad_account = accounts.add_ad_account(tx, business.id, new_account)
    _, token = accounts.issue_token(tx, business.id, "Demo", [scope.value for scope in Permission])
    app_id = str(secrets.randbelow(9 * 10**15) + 10**15)
    app = ChannelApp(app_id, business.id, Platform.TIKTOK, secrets.token_hex(20))
    channels.register_app(tx, app)
    homes: dict[Platform, ChannelAccount] = {}
    for platform, country in HOME.items():
        external_id = secrets.token_hex(16) if platform is Platform.TIKTOK else ""
        new_channel = NewAccount(platform, external_id, BUSINESS, "harbour.kitchens.example", country)
        homes[platform] = channels.connect_account(tx, business.id, new_channel)
        capture.turn_on_capture(tx, business.id, homes[platform].id, COMPANY)
    channels.set_access_token(tx, business.id, homes[Platform.TIKTOK].id, secrets.token_hex(20))
    # Create the form as a member would, publish it, and show it in our own chats.
    form = forms.create_form(tx, business.id, "Kitchen quote", country=HOME[Platform.WEBCHAT])
    content = form.draft
    for change in _CHANGES:
        content = change_content(content, change)
    form = forms.save_draft(tx, form, edit_content(content, _TYPED, "en"), form.revision, "simulator")
    page_id = str(forms.publish_form(tx, business.id, form.id, form.revision, "Owner").number)
    forms.set_default_form(tx, business.id, homes[Platform.WEBCHAT].id, form.id)
    auto_message_id = str(create_welcome_message(tx, ad_account, *_WELCOME).number)
    # Create a campaign for each goal, an ad group for each channel in it, and its ads.
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
                ticket = sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), tracking)
                number, group_number = str(ad.number), str(ad_group.number)
                ads.append(
                    AdOfWorld(number, group_number, ad_group.name, goal, platform, f"/t/c/{ticket}", name)
                )
    return DemoWorld(
        business_id=business.id,
        business_name=business.name,
        advertiser_id=str(ad_account.number),
        access_token=token,
        app_id=app.app_id,
        app_secret=app.secret,
        logins=tuple(Login(login.role, login.email, login.password) for login in logins),
        accounts=homes,
        ads=tuple(ads),
        page_id=page_id,
        auto_message_id=auto_message_id,
    )
