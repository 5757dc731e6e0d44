"""Windows, budgets, bids and schedules: which values go together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from itsdangerous import Signer

from contatto.ads.model import (
    WINDOW_DAYS,
    Ad,
    AdGroup,
    BidType,
    BudgetMode,
    ClickWindow,
    FrequencyCap,
    Money,
    NodeKind,
    Schedule,
    ScheduleType,
    ViewWindow,
    Windows,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.numbers import to_units
from contatto.measurement.model import TicketKind, TrackingTicket
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
"""The longest frequency cap: views of so many days are always in the database."""
LONGEST_NAME: Final = 512
SEND_MESSAGE: Final = "SEND_MESSAGE"
MOST_AD_GROUPS: Final = 30
"""Of one campaign, when they are made by the Smart+ endpoints."""


def window_seconds(window: ClickWindow | ViewWindow) -> int | None:
    days = WINDOW_DAYS[window]
    return None if days is None else days * 86_400


def windows_of(click: ClickWindow | None, view: ViewWindow | None) -> Windows:
    """The windows of a new ad group: both given, or neither for the default (P3).

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
    """The budget that belongs to a mode; none for an infinite one.

    Raises:
        Refused: INVALID.
    """
    if mode is BudgetMode.INFINITE:
        return None
    return _amount("budget", budget_micros)


def cap_of(frequency: int | None, schedule: int | None) -> FrequencyCap | None:
    """The frequency cap of views and days that were sent together; None where neither was, or for 0 views.

    Raises:
        Refused: INVALID.
    """
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
    """The frequency cap of an ad group after a change; None leaves a value as it is, 0 views end the cap.

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
    """Budget and bid, checked against their modes.

    Raises:
        Refused: INVALID.
    """
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
    """A schedule whose end lies after its start and after now.

    Raises:
        Refused: INVALID.
    """
    if schedule.kind is ScheduleType.FROM_NOW:
        return Schedule(schedule.kind, schedule.starts_at, None)
    if schedule.ends_at is None:
        raise Refused(errors.INVALID, "schedule_end_time: required with SCHEDULE_START_END.")
    if schedule.ends_at <= max(schedule.starts_at, now):
        raise Refused(errors.INVALID, "schedule_end_time: choose a future time after the start.")
    return schedule


def changed_budget(mode: BudgetMode, budget_micros: int) -> int | None:
    """A new budget; what was made without one stays without.

    Raises:
        Refused: INVALID.
    """
    if mode is BudgetMode.INFINITE:
        raise Refused(errors.INVALID, "budget: this item was created without a budget.")
    return check_budget(mode, budget_micros)


def check_not_below_spent(budget_micros: int, spent_micros: int) -> None:
    """Refuse a total budget of which more is spent already.

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
    """Budget and bid of an ad group after a change; None leaves a value as it is.

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
    """A schedule after a change of its kind, start or end; None leaves a value as it is.

    The start may be moved until it has come. A new end must lie ahead; an old one may be past.

    Raises:
        Refused: INVALID.
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
    """Refuse another value for what stays as it was made.

    Args:
        fields: by name, what was sent (None where nothing was) and what is.

    Raises:
        Refused: INVALID.
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
    """The instant of a day and a time in a zone."""
    return datetime.combine(day, at, ZoneInfo(timezone)).astimezone(UTC)


def check_name(field: str, text: str) -> str:
    """A name without blank ends.

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
    """A direct-message ad names its welcome message.

    Raises:
        Refused: INVALID.
    """
    if not auto_message_id:
        raise Refused(errors.INVALID, "auto_message_id: direct-message ads need a welcome message.")
    return auto_message_id


def check_call_to_action(text: str) -> str:
    """Direct-message ads have one call to action.

    Raises:
        Refused: INVALID.
    """
    if text != SEND_MESSAGE:
        raise Refused(
            errors.INVALID, "%(field)s: allowed: %(allowed)s.", field="call_to_action", allowed=SEND_MESSAGE
        )
    return text


def tell_apart(named: Sequence[tuple[str, str]]) -> list[str]:
    """The names of pairs of a name and a mark; the mark stands behind a name that comes more than once."""
    counts = Counter(name for name, _ in named)
    return [f"{name} · {mark}" if counts[name] > 1 else name for name, mark in named]


def name_apart(ads: Sequence[Ad], groups: Mapping[str, AdGroup]) -> dict[int, str]:
    """The names of ads by their numbers; what is alike gets its ad group, and if that is alike the number."""
    by_group = tell_apart([(ad.name, groups[ad.ad_group_id].name) for ad in ads])
    names = tell_apart([(name, str(ad.number)) for name, ad in zip(by_group, ads, strict=True)])
    return {ad.number: name for ad, name in zip(ads, names, strict=True)}


def chat_link(base_url: str, ad: Ad, signer: Signer) -> str:
    """The link to an ad's chat: a tap on it counts once for each person and day."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), signer)}"


def new_form_path(kind: NodeKind, parent: int) -> str:
    """The address of the form of something new; ``parent`` is the number of what it would stand in."""
    return {
        NodeKind.CAMPAIGN: "/ads/campaigns/new",
        NodeKind.AD_GROUP: f"/ads/campaigns/{parent}/ad-groups/new",
        NodeKind.AD: f"/ads/ad-groups/{parent}/ads/new",
    }[kind]
