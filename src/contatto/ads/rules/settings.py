"""Goals, markets, targeting and other settings of ads, with their limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache, reduce
from typing import Final, Literal

from contatto.ads.model import (
    DIRECT_MESSAGE,
    EVERY_STATUS,
    WINDOW_DAYS,
    AdGroup,
    AgeGroup,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    Check,
    CheckResult,
    ClickWindow,
    Facts,
    FrequencyCap,
    Money,
    NextStep,
    NodeStatus,
    ScheduleType,
    Spent,
    ViewWindow,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.languages import SOURCE, translator_for
from contatto.measurement.model import Goal
from contatto.measurement.rules import LONGEST_WINDOW


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


LEAD_MARKETS_ON: Final = date(2025, 10, 1)
"""Month of the source that lists the countries with the goal Lead."""

LEAD_MARKETS_BY_REGION: Final = {
    "APAC": _codes("SG MY PH TH VN ID KH JP AU NZ"),
    "LATAM": _codes("AR BR CL CO PE EC BO GY PY UY VE BZ CR DO SV GT HN NI PA MX"),
    "METAP": _codes("SA AE QA OM KW LB JO IQ IL EG LK MA KE DZ NG ZA PK"),
}
LEAD_MARKETS: Final = frozenset().union(*LEAD_MARKETS_BY_REGION.values())

DM_ADS_MARKETS: Final = _codes(
    "AU BD KH ID JP MY NZ PK PH SG KR LK TW TH VN AR BO BR CL CO CR DO EC GT MX PA PY PE PR UY"
)

_SPELLINGS: Final = {"EAU": "AE", "UAE": "AE"}


@lru_cache(1_000)
def normal_country(text: str) -> str:
    """Return a country code in capitals; EAU and UAE are spellings of AE."""
    code = text.strip().upper()
    return _SPELLINGS.get(code, code)


def normal_countries(texts: Iterable[str]) -> tuple[str, ...]:
    """Return country codes, each once, in order."""
    return tuple(sorted({normal_country(text) for text in texts}))


def check_countries(texts: Iterable[str]) -> tuple[str, ...]:
    """Return target countries as codes, each once; at least one is needed."""
    countries = normal_countries(texts)
    if not countries:
        raise Refused(errors.INVALID, "location_ids: choose at least one country.")
    return countries


@dataclass(frozen=True, slots=True)
class Region:
    """A city or state below a country, by its GeoNames id."""

    location_id: str
    country: str
    name: str


_CITY_TABLE: Final = """
1880252 SG Singapore
1735161 MY Kuala Lumpur
1701668 PH Manila
1609350 TH Bangkok
1581130 VN Hanoi
1566083 VN Ho Chi Minh City
1642911 ID Jakarta
1821306 KH Phnom Penh
1850147 JP Tokyo
2147714 AU Sydney
2158177 AU Melbourne
2193733 NZ Auckland
3435910 AR Buenos Aires
3448439 BR São Paulo
3451190 BR Rio de Janeiro
3871336 CL Santiago
3688689 CO Bogotá
3936456 PE Lima
3652462 EC Quito
3911925 BO La Paz
3439389 PY Asunción
3441575 UY Montevideo
3646738 VE Caracas
3621849 CR San José
3492908 DO Santo Domingo
3583361 SV San Salvador
3598132 GT Guatemala City
3600949 HN Tegucigalpa
3617763 NI Managua
3703443 PA Panama City
3530597 MX Mexico City
108410 SA Riyadh
292223 AE Dubai
292968 AE Abu Dhabi
290030 QA Doha
287286 OM Muscat
285787 KW Kuwait City
276781 LB Beirut
250441 JO Amman
98182 IQ Baghdad
293397 IL Tel Aviv
360630 EG Cairo
1248991 LK Colombo
2553604 MA Casablanca
184745 KE Nairobi
2507480 DZ Algiers
2332459 NG Lagos
2352778 NG Abuja
993800 ZA Johannesburg
3369157 ZA Cape Town
1174872 PK Karachi
1172451 PK Lahore
1176615 PK Islamabad
5128581 US New York
5368361 US Los Angeles
5332921 US California
3169070 IT Rome
3173435 IT Milan
745044 TR Istanbul
323786 TR Ankara
2643743 GB London
1185241 BD Dhaka
1835848 KR Seoul
1668341 TW Taipei
4568127 PR San Juan
"""

CITIES: Final = tuple(Region(*line.split(" ", 2)) for line in _CITY_TABLE.strip().splitlines())


_PLACE_TABLE: Final = """
SG 1880251 MY 1733045 PH 1694008 TH 1605651 VN 1562822 ID 1643084 KH 1831722 JP 1861060 AU 2077456 NZ 2186224
AR 3865483 BR 3469034 CL 3895114 CO 3686110 PE 3932488 EC 3658394 BO 3923057 GY 3378535 PY 3437598 UY 3439705
VE 3625428 BZ 3582678 CR 3624060 DO 3508796 SV 3585968 GT 3595528 HN 3608932 NI 3617476 PA 3703430 MX 3996063
SA 102358 AE 290557 QA 289688 OM 286963 KW 285570 LB 272103 JO 248816 IQ 99237 IL 294640 EG 357994 LK 1227603
MA 2542007 KE 192950 DZ 2589581 NG 2328926 ZA 953987 PK 1168579
US 6252001 IT 3175395 TR 298795 GB 2635167 BD 1210997 KR 1835841 TW 1668284 PR 4566966
"""
_WORDS: Final = _PLACE_TABLE.split()

LOCATION_IDS: Final = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
"""Country code to location id."""
COUNTRY_OF: Final = {location_id: country for country, location_id in LOCATION_IDS.items()} | {
    place.location_id: place.country for place in CITIES
}
"""The country of each location id, also of cities."""


def countries_of(location_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the countries of location ids, of cities too, each once, in order.

    Raises INVALID, for an id that is not in the table.
    """
    ids = tuple(location_ids)
    unknown = [location_id for location_id in ids if location_id not in COUNTRY_OF]
    if unknown:
        problem = N_("location_ids: unknown id %(id)s. See /tool/region/ for valid ids.")
        raise Refused(errors.INVALID, problem, id=unknown[0])
    return tuple(sorted({COUNTRY_OF[location_id] for location_id in ids}))


country_name: Final = translator_for(SOURCE).country
"""Return the English name of a country by its code."""


def countries_by_region() -> list[tuple[str, list[str]]]:
    """Return countries that ads can target, by region; the last group lacks the goal Lead."""
    groups = [(region, set(codes)) for region, codes in LEAD_MARKETS_BY_REGION.items()]
    listed = set().union(*(codes for _, codes in groups))
    groups.append((N_("Other regions"), set(LOCATION_IDS) - listed))
    return [(region, sorted(codes, key=country_name)) for region, codes in groups]


LANGUAGES: Final = {
    "ar": "العربية",
    "en": "English",
    "es": "Español",
    "fil": "Filipino",
    "he": "עברית",
    "hi": "हिन्दी",
    "id": "Bahasa Indonesia",
    "it": "Italiano",
    "ja": "日本語",
    "km": "ខ្មែរ",
    "ko": "한국어",
    "ms": "Bahasa Melayu",
    "pt": "Português",
    "si": "සිංහල",
    "sw": "Kiswahili",
    "ta": "தமிழ்",
    "th": "ไทย",
    "ur": "اردو",
    "vi": "Tiếng Việt",
    "zh": "中文",
}
"""Languages by their ISO 639 code, each under its own name: it needs no translation."""

AGES: Final = {
    AgeGroup.FROM_13: "13–17",
    AgeGroup.FROM_18: "18–24",
    AgeGroup.FROM_25: "25–34",
    AgeGroup.FROM_35: "35–44",
    AgeGroup.FROM_45: "45–54",
    AgeGroup.FROM_55: "55+",
}
_LEAST_AGES: Final = ((55, AgeGroup.FROM_55), (45, AgeGroup.FROM_45), (35, AgeGroup.FROM_35),
                      (25, AgeGroup.FROM_25), (18, AgeGroup.FROM_18), (13, AgeGroup.FROM_13))  # fmt: skip

INTERESTS: Final = {
    "10": N_("Education"),
    "11": N_("Vehicles and transport"),
    "12": N_("Baby, kids and maternity"),
    "13": N_("Financial services"),
    "14": N_("Beauty and personal care"),
    "15": N_("Technology and electronics"),
    "16": N_("Appliances"),
    "17": N_("Travel"),
    "18": N_("Household products"),
    "19": N_("Pets"),
    "20": N_("Apps"),
    "21": N_("Home improvement"),
    "22": N_("Clothing and accessories"),
    "23": N_("News and entertainment"),
    "24": N_("Business services"),
    "25": N_("Games"),
    "26": N_("Life services"),
    "27": N_("Food and beverage"),
    "28": N_("Sports and outdoors"),
    "29": N_("Property"),
}
"""Our own list of interests by id; publishers name them in their ad requests."""

MOST_AUDIENCES: Final = 50


def age_group_of(age: int) -> AgeGroup | None:
    """Return the age group of a person; None for a child under 13, who gets no ad with an age group."""
    return next((group for least, group in _LEAST_AGES if age >= least), None)


GOALS: Final = {
    ("LEAD_GENERATION", DIRECT_MESSAGE): Goal.LEAD,
    ("CONVERSATION", DIRECT_MESSAGE): Goal.CONVERSATION,
}
"""A goal is an ``optimization_goal`` together with a ``promotion_type``: LEAD_GENERATION alone is also the
goal of form ads."""

GOAL_ALIASES: Final = {"LEAD": "LEAD_GENERATION"}
OPTIMIZATION_GOALS: Final = {goal: name for (name, _), goal in GOALS.items()}

REGISTRATION_MARKETS: Final = {
    # Lead is a goal of direct-message ads, so those are sold in all countries where Lead is available.
    Goal.CONVERSATION: DM_ADS_MARKETS | LEAD_MARKETS,
    Goal.LEAD: LEAD_MARKETS,
}
"""Where the channel account and the ad account must be registered."""
TARGET_MARKETS: Final = {Goal.CONVERSATION: None, Goal.LEAD: LEAD_MARKETS}
"""Which countries may be targeted; None means every one."""

_SAYS: Final = {
    Check.CHANNEL_ACCOUNT: N_("identity_id: the channel account is registered in %(countries)s"),
    Check.AD_ACCOUNT: N_("advertiser_id: the ad account is registered in %(countries)s"),
    Check.TARGETS: N_("location_ids: the target countries include %(countries)s"),
}

_CAPTURE_OFF: Final = N_(
    "The goal Lead needs automatic lead capture, which is off for this account. Its id is %(id)s."
)


def goal_of(optimization_goal: str, promotion_type: str) -> Goal:
    """Return the goal that the API's two words name together. Raises INVALID, with the allowed values."""
    check_allowed("promotion_type", promotion_type, DIRECT_MESSAGE)
    name = GOAL_ALIASES.get(optimization_goal, optimization_goal)
    check_allowed("optimization_goal", name, *sorted(OPTIMIZATION_GOALS.values()))
    return GOALS[name, promotion_type]


def check_allowed(field: str, value: str, *allowed: str) -> None:
    """Refuse a value that is not one of those allowed, and name them."""
    if value not in allowed:
        raise Refused(
            errors.INVALID, "%(field)s: allowed: %(allowed)s.", field=field, allowed=", ".join(allowed)
        )


def eligibility(goal: Goal, facts: Facts) -> tuple[CheckResult, ...]:
    """Return the three country checks of a goal; it is available where all of them pass (R4 to R7)."""
    home, targets = REGISTRATION_MARKETS[goal], TARGET_MARKETS[goal]
    sides = (
        (Check.CHANNEL_ACCOUNT, (facts.account_country,), home),
        (Check.AD_ACCOUNT, (facts.ad_account_country,), home),
        (Check.TARGETS, facts.target_countries, targets),
    )
    results = []
    for check, countries, markets in sides:
        codes = normal_countries(countries)
        failing = () if markets is None else tuple(code for code in codes if code not in markets)
        results.append(CheckResult(check, codes, failing))
    return tuple(results)


def is_eligible(goal: Goal, facts: Facts) -> bool:
    return not any(result.failing for result in eligibility(goal, facts))


def next_steps(goal: Goal, facts: Facts) -> tuple[NextStep, ...]:
    """Return the remaining steps: the goal Lead needs automatic capture (R12, R13)."""
    return (NextStep.TURN_ON_CAPTURE,) if goal is Goal.LEAD and not facts.capture_on else ()


def check_goal(goal: Goal, facts: Facts) -> None:
    """Refuse a goal that is not available, naming every failing check, and one that needs a step first."""
    failed = [result for result in eligibility(goal, facts) if result.failing]
    if failed:
        texts = [LazyText(_SAYS[result.check], countries=", ".join(result.failing)) for result in failed]
        checks = reduce(lambda one, more: LazyText("%(one)s; %(more)s", one=one, more=more), texts)
        problem = N_("%(checks)s, where the goal %(goal)s is not available.")
        raise Refused(errors.NOT_ELIGIBLE, problem, checks=checks, goal=goal.capitalize())
    if next_steps(goal, facts):
        raise Refused(errors.CAPTURE_OFF, _CAPTURE_OFF, id=facts.channel_account_id)


SHOWN_PARTS: Final = (
    "headline", "text", "video_id", "auto_message_id", "page_id", "channel_account_id",
)  # fmt: skip
"""Public parts of an ad: their change needs a new review."""
LONGEST_CONTENT: Final = 200
"""Most characters of a welcome message; the next three limits are of its suggested questions."""
MOST_QUESTIONS: Final = 3
LONGEST_QUESTION: Final = 70
LONGEST_ANSWER: Final = 500


type Operation = Literal["ENABLE", "DISABLE", "DELETE"]
"""The API's word for a change of status, and in responses for the current status."""
OPERATIONS: Final[Mapping[Operation, NodeStatus]] = {
    "ENABLE": NodeStatus.ACTIVE,
    "DISABLE": NodeStatus.PAUSED,
    "DELETE": NodeStatus.DELETED,
}
OPERATION_OF: Final = {status: operation for operation, status in OPERATIONS.items()}

PRIMARY_STATUSES: Final = {
    "STATUS_NOT_DELETE": frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED}),
    "STATUS_ALL": EVERY_STATUS,
    "STATUS_DELETE": frozenset({NodeStatus.DELETED}),
    "STATUS_DELIVERY_OK": frozenset({NodeStatus.ACTIVE}),
    "STATUS_DISABLE": frozenset({NodeStatus.PAUSED}),
    "STATUS_NOT_DELIVERY": frozenset({NodeStatus.PAUSED}),
    "STATUS_TIME_DONE": frozenset[NodeStatus](),
}
"""The API's filters and the statuses that they select."""


def secondary_status(
    prefix: str,
    own: NodeStatus,
    ad_group: AdGroup | None,
    campaign: Campaign | None,
    audit: Audit = Audit.PASS,
) -> str:
    """Return the API's delivery status: the first reason that holds, with its level as a prefix."""
    if own is NodeStatus.DELETED:
        return f"{prefix}_STATUS_DELETE"
    if campaign is not None and campaign.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_CAMPAIGN_DISABLE"
    if ad_group is not None and ad_group.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_ADGROUP_DISABLE"
    if own is NodeStatus.PAUSED:
        return f"{prefix}_STATUS_DISABLE"
    if audit is not Audit.PASS:
        return f"{prefix}_STATUS_AUDIT" if audit is Audit.AUDITING else f"{prefix}_STATUS_AUDIT_DENY"
    return "CAMPAIGN_STATUS_ENABLE" if prefix == "CAMPAIGN" else f"{prefix}_STATUS_DELIVERY_OK"


DYNAMIC_SHARE: Final = 1.25
"""Share of its daily average that a dynamic budget may spend in one day."""


def add_spent(spent: Iterable[Spent]) -> Spent:
    """Add the spend of several ad groups."""
    sums = list(spent)
    return Spent(
        sum(spent_sum.day_micros for spent_sum in sums), sum(spent_sum.ever_micros for spent_sum in sums)
    )


def most_of_day(mode: BudgetMode, budget_micros: int) -> float:
    """Return the most that one day may spend of a daily budget."""
    return budget_micros * DYNAMIC_SHARE if mode is BudgetMode.DYNAMIC_DAY else float(budget_micros)


DEFAULT_WINDOWS: Final = (ClickWindow.SEVEN_DAYS, ViewWindow.ONE_DAY)
"""Seven days after a click, one day after a view (R50)."""
MOST_MONEY_MICROS: Final = 10_000_000 * 1_000_000
LEAST_UNITS: Final = {
    "ARS": 500, "CLP": 1_000, "COP": 4_000, "CRC": 500, "DZD": 100, "EGP": 20, "IDR": 10_000, "IQD": 1_000,
    "JPY": 100, "KES": 100, "KHR": 4_000, "KRW": 1_000, "LBP": 50_000, "LKR": 200, "NGN": 1_000, "PHP": 40,
    "PKR": 200, "PYG": 5_000, "THB": 30, "TWD": 30, "UYU": 30, "VND": 20_000, "ZAR": 10,
}  # fmt: skip
"""The smallest budget in units of a currency, about the price of a coffee; 1 where none is named."""
MOST_FREQUENCY: Final = 100
MOST_FREQUENCY_DAYS: Final = LONGEST_WINDOW.days
"""Longest frequency cap: older views may have left the database."""
LONGEST_NAME: Final = 512
SEND_MESSAGE: Final = "SEND_MESSAGE"
MOST_AD_GROUPS: Final = 30
"""Most ad groups of one campaign that the Smart+ endpoints make."""


WINDOW_SECONDS: Final = {window: days and days * 86_400 for window, days in WINDOW_DAYS.items()}


def windows_of(click: ClickWindow | None, view: ViewWindow | None) -> tuple[ClickWindow, ViewWindow]:
    """Return the windows of a new ad group: both given, or neither for the default (P3).

    Raises INVALID, when only one of them is given.
    """
    if click is None and view is None:
        return DEFAULT_WINDOWS
    if click is None or view is None:
        missing = "click_attribution_window" if click is None else "view_attribution_window"
        problem = N_("%(field)s: click_attribution_window and view_attribution_window must be sent together.")
        raise Refused(errors.INVALID, problem, field=missing)
    return click, view


def check_budget(mode: BudgetMode, budget_micros: int | None) -> int | None:
    """Return the budget that belongs to a mode; none for an infinite one. Raises INVALID."""
    if mode is BudgetMode.INFINITE:
        return None
    return _amount("budget", budget_micros)


def cap_of(frequency: int | None, schedule: int | None) -> FrequencyCap | None:
    """Return the frequency cap; None for 0 views, or without views and days.

    Raises INVALID, when only one of them is given or one is out of range.
    """
    if frequency == 0 or (frequency is None and schedule is None):
        return None
    if frequency is None or schedule is None:
        missing = "frequency" if frequency is None else "frequency_schedule"
        problem = N_("%(field)s: a frequency cap needs both a number of impressions and a number of days.")
        raise Refused(errors.INVALID, problem, field=missing)
    if not 1 <= frequency <= MOST_FREQUENCY:
        problem = N_("frequency: enter a number of impressions from 1 to %(most)s.")
        raise Refused(errors.INVALID, problem, most=MOST_FREQUENCY)
    if not 1 <= schedule <= MOST_FREQUENCY_DAYS:
        problem = N_("frequency_schedule: enter a number of days from 1 to %(most)s.")
        raise Refused(errors.INVALID, problem, most=MOST_FREQUENCY_DAYS)
    return FrequencyCap(frequency, schedule)


def least_budget_micros(currency: str) -> int:
    return LEAST_UNITS.get(currency, 1) * 1_000_000


def check_least(budget_micros: int | None, currency: str) -> None:
    """Refuse a budget below the least one of its currency; no budget is no limit.

    Raises INVALID, with the least one.
    """
    least = least_budget_micros(currency)
    if budget_micros is not None and budget_micros < least:
        problem = N_("budget: enter at least %(currency)s %(least)s.")
        raise Refused(errors.INVALID, problem, currency=currency, least=least // 1_000_000)


def check_money(money: Money) -> Money:
    """Return budget and bid after a check against their modes."""
    budget = check_budget(money.budget_mode, money.budget_micros)
    if money.bid_type is BidType.NO_BID:
        return Money(money.budget_mode, budget, money.bid_type, None)
    bid = _amount("conversion_bid_price", money.bid_micros)
    if budget is not None and bid > budget:
        raise Refused(errors.INVALID, "conversion_bid_price: enter at most the budget.")
    return Money(money.budget_mode, budget, money.bid_type, bid)


def _amount(field: str, value: int | None) -> int:
    if value is None or not 0 < value <= MOST_MONEY_MICROS:
        raise Refused(errors.INVALID, "%(field)s: enter an amount above 0 and up to 10,000,000.", field=field)
    return value


type Schedule = tuple[datetime, datetime | None]
"""Start and end of an ad group; None without an end."""


def check_schedule(schedule: Schedule, at: datetime) -> Schedule:
    """Return a schedule that ends, if at all, after its start and after ``at``."""
    starts_at, ends_at = schedule
    if ends_at is not None and ends_at <= max(starts_at, at):
        raise Refused(errors.INVALID, "schedule_end_time: choose a future time after the start.")
    return schedule


def changed_budget(mode: BudgetMode, budget_micros: int) -> int | None:
    """Return a new budget; a node without a budget stays without one."""
    if mode is BudgetMode.INFINITE:
        raise Refused(errors.INVALID, "budget: this item was created without a budget.")
    return check_budget(mode, budget_micros)


def changed_schedule(
    before: AdGroup, times: tuple[ScheduleType | None, datetime | None, datetime | None], at: datetime
) -> Schedule:
    """Return a schedule after a change of its kind, start or end; None leaves a value as it is.

    The start may be moved until it has come. A new end must lie ahead; an old one may be past.
    """
    kind, starts_at, ends_at = times
    if times == (None, None, None):
        return before.starts_at, before.ends_at
    if starts_at is not None and starts_at != before.starts_at and before.starts_at <= at:
        raise Refused(errors.INVALID, "schedule_start_time: the start has passed and cannot change.")
    end = None if kind is ScheduleType.FROM_NOW else ends_at or before.ends_at
    if end is None and kind is ScheduleType.START_END:
        raise Refused(errors.INVALID, "schedule_end_time: required with SCHEDULE_START_END.")
    return check_schedule((starts_at or before.starts_at, end), at)


def check_frozen(fields: Mapping[str, tuple[object, object]]) -> None:
    """Refuse changes of fixed fields, each with the sent value (None if omitted) and the current one."""
    for name, (sent, existing_value) in fields.items():
        if sent is not None and sent != existing_value:
            problem = N_("%(field)s: this value cannot change after creation. It is %(kept)s.")
            raise Refused(errors.INVALID, problem, field=name, kept=existing_value)


def check_name(field: str, text: str) -> str:
    """Return a name without blank ends. Raises INVALID, when nothing is left or it is too long."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        problem = N_("%(field)s: use 1 to %(most)s characters on one line.")
        raise Refused(errors.INVALID, problem, field=field, most=LONGEST_NAME)
    return name


def check_auto_message(auto_message_id: str) -> str:
    """Return the id of the welcome message, which direct-message ads need."""
    if not auto_message_id:
        raise Refused(errors.INVALID, "auto_message_id: direct-message ads need a welcome message.")
    return auto_message_id
