"""Settings of campaigns, ad groups and ads, and their typed forms."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from itsdangerous import Signer

from contatto.accounts.model import AdAccount
from contatto.ads.model import (
    WINDOW_DAYS,
    Ad,
    AdGroup,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    FrequencyCap,
    Money,
    NodeKind,
    NodeStatus,
    Pacing,
    Place,
    Schedule,
    ScheduleType,
    Targeting,
    ViewWindow,
    Windows,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults, read_amount, read_whole, typed_amount
from contatto.kit.i18n import N_
from contatto.kit.values import check_year, day_of, read_number, to_units
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import LONGEST_WINDOW, sign_ticket

DEFAULT_WINDOWS: Final = Windows(ClickWindow.SEVEN_DAYS, ViewWindow.ONE_DAY)
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


def window_seconds(window: ClickWindow | ViewWindow) -> int | None:
    days = WINDOW_DAYS[window]
    return None if days is None else days * 86_400


def windows_of(click: ClickWindow | None, view: ViewWindow | None) -> Windows:
    """Return the windows of a new ad group: both given, or neither for the default (P3).

    Raises:
        Refused: INVALID, when only one of them is given.
    """
    if click is None and view is None:
        return DEFAULT_WINDOWS
    if click is None or view is None:
        missing = "click_attribution_window" if click is None else "view_attribution_window"
        raise Refused(
            errors.INVALID,
            "%(field)s: click_attribution_window and view_attribution_window must be sent together.",
            field=missing,
        )
    return Windows(click, view)


def check_budget(mode: BudgetMode, budget_micros: int | None) -> int | None:
    """Return the budget that belongs to a mode; none for an infinite one.

    Raises:
        Refused: INVALID.
    """
    if mode is BudgetMode.INFINITE:
        return None
    return _amount("budget", budget_micros)


def cap_of(frequency: int | None, schedule: int | None) -> FrequencyCap | None:
    """Return the frequency cap of views and days that came together; None without both, or for 0 views."""
    if frequency == 0 or (frequency is None and schedule is None):
        return None
    if frequency is None or schedule is None:
        missing = "frequency" if frequency is None else "frequency_schedule"
        raise Refused(
            errors.INVALID,
            "%(field)s: a frequency cap needs both a number of impressions and a number of days.",
            field=missing,
        )
    if not 1 <= frequency <= MOST_FREQUENCY:
        raise Refused(
            errors.INVALID,
            "frequency: enter a number of impressions from 1 to %(most)s.",
            most=MOST_FREQUENCY,
        )
    if not 1 <= schedule <= MOST_FREQUENCY_DAYS:
        raise Refused(
            errors.INVALID,
            "frequency_schedule: enter a number of days from 1 to %(most)s.",
            most=MOST_FREQUENCY_DAYS,
        )
    return FrequencyCap(frequency, schedule)


def changed_cap(before: AdGroup, frequency: int | None, schedule: int | None) -> FrequencyCap | None:
    """Return the frequency cap after a change; None leaves a value as it is, 0 views end the cap.

    Raises:
        Refused: INVALID.
    """
    if frequency == 0:
        return None
    return cap_of(
        before.frequency if frequency is None else frequency,
        before.frequency_schedule if schedule is None else schedule,
    )


def least_budget_micros(currency: str) -> int:
    return LEAST_UNITS.get(currency, 1) * 1_000_000


def check_least(budget_micros: int | None, currency: str) -> None:
    """Refuse a budget below the least one of its currency; no budget is no limit.

    Raises:
        Refused: INVALID, with the least one.
    """
    least = least_budget_micros(currency)
    if budget_micros is not None and budget_micros < least:
        raise Refused(
            errors.INVALID,
            "budget: enter at least %(currency)s %(least)s.",
            currency=currency,
            least=least // 1_000_000,
        )


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


def check_schedule(schedule: Schedule, now: datetime) -> Schedule:
    """Return a schedule that ends after its start and after now."""
    if schedule.kind is ScheduleType.FROM_NOW:
        return Schedule(schedule.kind, schedule.starts_at, None)
    if schedule.ends_at is None:
        raise Refused(errors.INVALID, "schedule_end_time: required with SCHEDULE_START_END.")
    if schedule.ends_at <= max(schedule.starts_at, now):
        raise Refused(errors.INVALID, "schedule_end_time: choose a future time after the start.")
    return schedule


def changed_budget(mode: BudgetMode, budget_micros: int) -> int | None:
    """Return a new budget; a node without a budget stays without one."""
    if mode is BudgetMode.INFINITE:
        raise Refused(errors.INVALID, "budget: this item was created without a budget.")
    return check_budget(mode, budget_micros)


def check_not_below_spent(budget_micros: int, spent_micros: int) -> None:
    """Refuse a total budget below the amount that is already spent.

    Raises:
        Refused: INVALID, with the least that it can be.
    """
    if budget_micros < spent_micros:
        raise Refused(
            errors.INVALID,
            "budget: %(spent)s is already spent. Enter at least this amount.",
            spent=round(float(to_units(spent_micros)), 2),
        )


def changed_money(
    before: AdGroup, budget_micros: int | None, bid_type: BidType | None, bid_micros: int | None
) -> Money:
    """Return the budget and bid of an ad group after a change; None leaves a value as it is.

    Raises:
        Refused: INVALID.
    """
    budget = before.budget_micros
    if budget_micros is not None:
        budget = changed_budget(before.budget_mode, budget_micros)
    kind = bid_type or before.bid_type
    bid = before.bid_micros if bid_micros is None else bid_micros
    return check_money(Money(before.budget_mode, budget, kind, bid))


def changed_schedule(
    before: AdGroup, times: tuple[ScheduleType | None, datetime | None, datetime | None], now: datetime
) -> Schedule:
    """Return a schedule after a change of its kind, start or end; None leaves a value as it is.

    The start may be moved until it has come. A new end must lie ahead; an old one may be past.
    """
    kind, starts_at, ends_at = times
    if (kind, starts_at, ends_at) == (None, None, None):
        return Schedule(before.schedule_type, before.starts_at, before.ends_at)
    if starts_at is not None and starts_at != before.starts_at and before.starts_at <= now:
        raise Refused(errors.INVALID, "schedule_start_time: the start has passed and cannot change.")
    schedule_type = kind or (before.schedule_type if ends_at is None else ScheduleType.START_END)
    return check_schedule(
        Schedule(schedule_type, starts_at or before.starts_at, ends_at or before.ends_at), now
    )


def check_frozen(fields: Mapping[str, tuple[object, object]]) -> None:
    """Refuse changes of fields that are fixed after creation.

    Args:
        fields: by name, the sent value (None if omitted) and the current one.
    """
    for name, (sent, existing_value) in fields.items():
        if sent is not None and sent != existing_value:
            raise Refused(
                errors.INVALID,
                "%(field)s: this value cannot change after creation. It is %(kept)s.",
                field=name,
                kept=existing_value,
            )


def at_local_time(day: date, at: time, timezone: str) -> datetime:
    """Return the instant of a day and a time in a zone."""
    return datetime.combine(day, at, ZoneInfo(timezone)).astimezone(UTC)


def check_name(field: str, text: str) -> str:
    """Return a name without blank ends.

    Raises:
        Refused: INVALID, when nothing is left or it is too long.
    """
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Refused(
            errors.INVALID,
            "%(field)s: use 1 to %(most)s characters on one line.",
            field=field,
            most=LONGEST_NAME,
        )
    return name


def check_auto_message(auto_message_id: str) -> str:
    """Return the id of the welcome message, which direct-message ads need."""
    if not auto_message_id:
        raise Refused(errors.INVALID, "auto_message_id: direct-message ads need a welcome message.")
    return auto_message_id


def check_call_to_action(text: str) -> str:
    """Return the call to action; direct-message ads allow only one."""
    if text != SEND_MESSAGE:
        raise Refused(
            errors.INVALID, "%(field)s: allowed: %(allowed)s.", field="call_to_action", allowed=SEND_MESSAGE
        )
    return text


def distinguish_names(named: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of pairs of a name and a mark, and add the mark to repeated names."""
    counts = Counter(name for name, _ in named)
    return [f"{name} · {mark}" if counts[name] > 1 else name for name, mark in named]


def distinguish_ads(ads: Sequence[Ad], groups: Mapping[str, AdGroup]) -> dict[int, str]:
    """Return the names of ads by their numbers; equal names get their ad group, or else their number."""
    by_group = distinguish_names([(ad.name, groups[ad.ad_group_id].name) for ad in ads])
    names = distinguish_names([(name, str(ad.number)) for name, ad in zip(by_group, ads, strict=True)])
    return {ad.number: name for ad, name in zip(ads, names, strict=True)}


def chat_link(base_url: str, ad: Ad, signer: Signer) -> str:
    """Return the link to an ad's chat: a tap on it counts once for each person and day."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), signer)}"


def new_form_path(kind: NodeKind, parent: int) -> str:
    """Return the address of the form of a new node below ``parent``."""
    return {
        NodeKind.CAMPAIGN: "/ads/campaigns/new",
        NodeKind.AD_GROUP: f"/ads/campaigns/{parent}/ad-groups/new",
        NodeKind.AD: f"/ads/ad-groups/{parent}/ads/new",
    }[kind]


type Pairs = Iterable[tuple[str, Any]]
"""Names and values of a form as they were sent; a name may come more than once."""

_HTML_NAMES: Final = {"country": "countries"}
LONGEST_TEXT: Final = 2_000
MOST_VALUES: Final = 300
NEW_MESSAGE: Final = "new"
"""Choice of a new welcome message instead of a saved one."""
_CLICK: Final = {str(WINDOW_DAYS[window]): window for window in ClickWindow if WINDOW_DAYS[window]}
_VIEW: Final = {str(WINDOW_DAYS[window] or 0): window for window in ViewWindow}
_USUAL_BUDGET: Final = 50
"""Budget in a new form, in multiples of the least budget."""


@dataclass(frozen=True, slots=True)
class CampaignForm:
    """Every field of the form of a campaign, as text; a budget only where the campaign has one."""

    advertiser_id: str = ""
    name: str = ""
    budget: str = ""


@dataclass(frozen=True, slots=True)
class AdForm:
    """Every field of the form of an ad, as text; the last three are those of a new first message."""

    name: str = ""
    headline: str = ""
    body: str = ""
    page_id: str = ""
    auto_message_id: str = ""
    welcome: str = ""
    questions: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdGroupForm:
    """Every field of the form of an ad group, as text; days and times are of the ad account's zone."""

    name: str = ""
    channel_account_id: str = ""
    goal: str = Goal.LEAD.value
    budget_mode: str = BudgetMode.DYNAMIC_DAY.value
    budget: str = ""
    bid: str = ""
    pacing: str = Pacing.SMOOTH.value
    starts_on: str = ""
    starts_time: str = ""
    ends_on: str = ""
    ends_time: str = ""
    click_window_days: str = "7"
    view_window_days: str = "1"
    page_id: str = ""
    frequency: str = ""
    frequency_schedule: str = ""
    countries: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    age_groups: tuple[str, ...] = ()
    interest_category_ids: tuple[str, ...] = ()
    audience_ids: tuple[str, ...] = ()
    excluded_audience_ids: tuple[str, ...] = ()


FORMS: Final[dict[NodeKind, type[CampaignForm | AdGroupForm | AdForm]]] = {
    NodeKind.CAMPAIGN: CampaignForm,
    NodeKind.AD_GROUP: AdGroupForm,
    NodeKind.AD: AdForm,
}


def read_form[F](kind: type[F], pairs: Pairs) -> F:
    """Read a form of texts and lists; omitted fields get their default, unknown names are dropped."""
    sent: dict[str, list[str]] = {}
    for name, value in pairs:
        values = sent.setdefault(_HTML_NAMES.get(name, name), [])
        if len(values) < MOST_VALUES:
            values.append(str(value)[:LONGEST_TEXT])
    typed: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # each kind is a dataclass
        if isinstance(field.default, tuple):
            typed[field.name] = tuple(sent.get(field.name, ()))
        elif field.name in sent:
            typed[field.name] = sent[field.name][0]
    return kind(**typed)


def pairs_of(saved_form: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and values of a saved form, as a browser would send them."""
    pairs: list[tuple[str, str]] = []
    for name, value in saved_form.items():
        pairs += [(name, str(item)) for item in (value if isinstance(value, list) else [value])]
    return pairs


def new_ad_group_form(currency: str, lang: str) -> AdGroupForm:
    """Return the form as it is opened first."""
    return AdGroupForm(budget=typed_amount(_USUAL_BUDGET * least_budget_micros(currency), currency, lang))


def read_goal(form: AdGroupForm) -> Goal:
    if form.goal not in list(Goal):
        raise Refused(errors.INVALID, "goal: choose Conversation or Lead.")
    return Goal(form.goal)


def read_money(form: AdGroupForm, currency: str, lang: str) -> Money:
    """Read budget and bid; an empty bid means the lowest cost.

    Raises:
        Refused: INVALID, for all that is wrong with them.
    """
    if form.budget_mode not in list(BudgetMode):
        raise Refused(errors.INVALID, "budget_mode: choose one from the list.")
    mode, faults = BudgetMode(form.budget_mode), Faults()
    budget = None
    if mode is not BudgetMode.INFINITE:
        budget = faults.read(lambda: read_amount("budget", form.budget, currency, lang), None)
    bid = faults.read(lambda: read_amount("bid", form.bid, currency, lang), None)
    faults.check()
    return Money(mode, budget, BidType.NO_BID if bid is None else BidType.CUSTOM, bid)


def need_amount(field: str, text: str, currency: str, lang: str) -> int:
    """Return an amount in micros, where there has to be one."""
    amount = read_amount(field, text, currency, lang)
    if amount is None:
        raise Refused(errors.INVALID, "%(field)s: this field is required.", field=field)
    return amount


def need_headline(form: AdForm) -> str:
    """Return the line that people see first.

    Raises:
        Refused: INVALID, when there is none.
    """
    if not form.headline.strip():
        raise Refused(errors.INVALID, "headline: enter a headline.")
    return form.headline


def read_pacing(form: AdGroupForm) -> Pacing:
    if form.pacing not in list(Pacing):
        raise Refused(errors.INVALID, "pacing: choose one from the list.")
    return Pacing(form.pacing)


def read_windows(form: AdGroupForm) -> tuple[ClickWindow, ViewWindow]:
    """Return the two attribution windows."""
    click, view = _CLICK.get(form.click_window_days), _VIEW.get(form.view_window_days)
    if click is None:
        raise Refused(errors.INVALID, "click_window_days: choose one from the list.")
    if view is None:
        raise Refused(errors.INVALID, "view_window_days: choose one from the list.")
    return click, view


def read_frequency(form: AdGroupForm, lang: str) -> tuple[int | None, int | None]:
    """Read the views and days of the frequency cap; None for an empty field.

    Raises:
        Refused: INVALID, for all that is wrong with them.
    """
    faults = Faults()
    views = faults.read(lambda: read_whole("frequency", form.frequency, lang), None)
    days = faults.read(lambda: read_whole("frequency_schedule", form.frequency_schedule, lang), None)
    faults.check()
    return views, days


def read_times(form: AdGroupForm, timezone: str) -> tuple[datetime | None, datetime | None]:
    """Read start and end; None means at once, or no end. An end day without a time is included."""
    first, starts = _day("starts_on", form.starts_on), _time("starts_on", form.starts_time)
    last, ends = _day("ends_on", form.ends_on), _time("ends_on", form.ends_time)
    for field, day, at in (("starts_on", first, starts), ("ends_on", last, ends)):
        if day is None and at is not None:
            raise Refused(errors.INVALID, "%(field)s: choose a day for this time.", field=field)
    starts_at = at_local_time(first, starts or time(), timezone) if first else None
    if last is not None and ends is None:
        last += timedelta(days=1)
    return starts_at, at_local_time(last, ends or time(), timezone) if last else None


def _day(field: str, text: str) -> date | None:
    check_year(field, text)
    day = day_of(text)
    if text and day is None:
        raise Refused(errors.INVALID, "%(field)s: enter a day as YYYY-MM-DD.", field=field)
    return day


def _time(field: str, text: str) -> time | None:
    try:
        return time.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError as error:
        raise Refused(errors.INVALID, "%(field)s: enter a time as HH:MM.", field=field) from error


def read_targeting(form: AdGroupForm) -> Targeting:
    return Targeting(**{name: getattr(form, name) for name in Targeting.__dataclass_fields__})


def typed_campaign(campaign: Campaign, currency: str, lang: str) -> CampaignForm:
    """Return a campaign as its form shows it."""
    return CampaignForm(name=campaign.name, budget=typed_amount(campaign.budget_micros, currency, lang))


def typed_ad(ad: Ad) -> AdForm:
    """Return an ad as its form shows it."""
    return AdForm(ad.name, ad.headline, ad.text, ad.page_id, ad.auto_message_id)


def read_questions(form: AdForm) -> tuple[tuple[str, str], ...]:
    """Return the questions of a new first message with their answers; empty pairs are left out."""
    answers = [*form.answers, *([""] * len(form.questions))]
    pairs = [(one.strip(), answer.strip()) for one, answer in zip(form.questions, answers, strict=False)]
    return tuple(pair for pair in pairs if any(pair))


def typed_ad_group(ad_group: AdGroup, account: AdAccount, lang: str) -> AdGroupForm:
    """Return an ad group as its form shows it."""
    local = ad_group.starts_at.astimezone(ZoneInfo(account.timezone))
    starts_on, starts_time = local.date().isoformat(), f"{local:%H:%M}" if local.time() != time() else ""
    ends_on = ends_time = ""
    if ad_group.ends_at is not None:
        end = ad_group.ends_at.astimezone(ZoneInfo(account.timezone))
        is_midnight = end.time() == time()  # the end of the day before
        ends_on = (end.date() - timedelta(days=is_midnight)).isoformat()
        ends_time = "" if is_midnight else f"{end:%H:%M}"
    return AdGroupForm(
        name=ad_group.name,
        channel_account_id=ad_group.channel_account_id,
        goal=ad_group.goal.value,
        budget_mode=ad_group.budget_mode.value,
        budget=typed_amount(ad_group.budget_micros, account.currency, lang),
        bid=typed_amount(ad_group.bid_micros, account.currency, lang),
        pacing=ad_group.pacing.value,
        starts_on=starts_on,
        starts_time=starts_time,
        ends_on=ends_on,
        ends_time=ends_time,
        click_window_days=str(WINDOW_DAYS[ad_group.click_window] or 0),
        view_window_days=str(WINDOW_DAYS[ad_group.view_window] or 0),
        page_id=ad_group.page_id,
        frequency=str(ad_group.frequency or ""),
        frequency_schedule=str(ad_group.frequency_schedule or ""),
        countries=ad_group.countries,
        **{name: getattr(ad_group, name) for name in Targeting.__dataclass_fields__},
    )


class Act(StrEnum):
    """Bulk action on chosen rows; the values are parts of URLs."""

    PAUSE = "pause"
    START = "start"
    DELETE = "delete"
    BUDGET = "budget"
    BID = "bid"


STATUS_AFTER: Final = {
    Act.PAUSE: NodeStatus.PAUSED,
    Act.START: NodeStatus.ACTIVE,
    Act.DELETE: NodeStatus.DELETED,
}
DONE: Final = {
    Act.PAUSE: N_("Paused"),
    Act.START: N_("Turned on"),
    Act.DELETE: N_("Deleted"),
    Act.BUDGET: N_("Budget changed"),
    Act.BID: N_("Bid changed"),
}
"""Text of a changed row."""
MOST_ROWS: Final = 200
"""Rows of one request: more than a page of the tree usually shows."""
_DEPTH: Final = {NodeKind.AD: 0, NodeKind.AD_GROUP: 1, NodeKind.CAMPAIGN: 2}


def read_places(values: Iterable[str]) -> tuple[Place, ...]:
    """Return the chosen rows, each once, lowest level first: changes of a parent may include its children.

    Args:
        values: level and number of each row, such as ``ad-groups-17``.

    Raises:
        Refused: INVALID, for no row, too many rows, or an invalid row.
    """
    places = list(dict.fromkeys(_place(value) for value in values))
    if not places:
        raise Refused(errors.INVALID, "Choose at least one row.")
    if len(places) > MOST_ROWS:
        raise Refused(errors.INVALID, "Choose at most %(most)s rows.", most=MOST_ROWS)
    return tuple(sorted(places, key=lambda place: _DEPTH[place[0]]))


def _place(value: str) -> Place:
    kind, _, number = value.rpartition("-")
    read = read_number(number)
    if kind not in set(NodeKind) or read is None:
        raise Refused(errors.INVALID, "A selected row is no longer in the table. Reload the page.")
    return NodeKind(kind), read


def check_fits(act: Act, kind: NodeKind) -> None:
    """Refuse a budget of an ad, and a bid of anything but an ad group."""
    if act is Act.BUDGET and kind is NodeKind.AD:
        raise Refused(errors.INVALID, "An ad has no budget of its own. It uses the budget of its ad group.")
    if act is Act.BID and kind is not NodeKind.AD_GROUP:
        raise Refused(errors.INVALID, "Only an ad group has a bid.")
