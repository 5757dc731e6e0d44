"""Forms of the Ads Manager as typed, their parsing, and bulk changes of rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from contatto.accounts.model import AdAccount
from contatto.ads.model import (
    WINDOW_DAYS,
    Ad,
    AdGroup,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    Money,
    NodeKind,
    NodeStatus,
    Pacing,
    Place,
    Targeting,
    ViewWindow,
)
from contatto.ads.rules.settings import at_local_time, least_budget_micros
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults, read_amount, read_whole, typed_amount
from contatto.kit.i18n import N_
from contatto.kit.numbers import read_number
from contatto.kit.timestamps import check_year, day_of
from contatto.measurement.model import Goal

type Pairs = Iterable[tuple[str, Any]]
"""Names and values of a form as they were sent; a name may come more than once."""

_HTML_NAMES: Final = {"country": "countries"}
LONGEST_TEXT: Final = 2_000
MOST_VALUES: Final = 300
NEW_MESSAGE: Final = "new"
"""Chosen in the place of a welcome message: write a new one."""
_CLICK: Final = {str(WINDOW_DAYS[window]): window for window in ClickWindow if WINDOW_DAYS[window]}
_VIEW: Final = {str(WINDOW_DAYS[window] or 0): window for window in ViewWindow}
_USUAL_BUDGET: Final = 50
"""So many of the least budget stand in a new form."""


@dataclass(frozen=True, slots=True)
class CampaignForm:
    """Every field of the form of a campaign, as text; a budget only where the campaign has one."""

    advertiser_id: str = ""
    name: str = ""
    budget: str = ""


@dataclass(frozen=True, slots=True)
class AdForm:
    """Every field of the form of an ad, as text; welcome, questions, answers: of a new first message."""

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
    """A form of texts and lists; what was not sent has its usual value, unknown names are dropped."""
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
    """A form that was kept as an object, as it would be sent."""
    pairs: list[tuple[str, str]] = []
    for name, value in saved_form.items():
        pairs += [(name, str(item)) for item in (value if isinstance(value, list) else [value])]
    return pairs


def new_ad_group_form(currency: str, lang: str) -> AdGroupForm:
    """The form as it is opened first."""
    return AdGroupForm(budget=typed_amount(_USUAL_BUDGET * least_budget_micros(currency), currency, lang))


def read_goal(form: AdGroupForm) -> Goal:
    if form.goal not in list(Goal):
        raise Refused(errors.INVALID, "goal: choose Conversation or Lead.")
    return Goal(form.goal)


def read_money(form: AdGroupForm, currency: str, lang: str) -> Money:
    """Budget and bid; without a bid the cost is the lowest.

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
    """An amount in micros, where there has to be one.

    Raises:
        Refused: INVALID.
    """
    amount = read_amount(field, text, currency, lang)
    if amount is None:
        raise Refused(errors.INVALID, "%(field)s: this field is required.", field=field)
    return amount


def need_headline(form: AdForm) -> str:
    """The line that people see first.

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
    """The two attribution windows.

    Raises:
        Refused: INVALID.
    """
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
    """Start and end; None means at once, and until it is stopped. A day without a time is a whole day.

    Raises:
        Refused: INVALID.
    """
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
    """A campaign as its form shows it."""
    return CampaignForm(name=campaign.name, budget=typed_amount(campaign.budget_micros, currency, lang))


def typed_ad(ad: Ad) -> AdForm:
    """An ad as its form shows it."""
    return AdForm(ad.name, ad.headline, ad.text, ad.page_id, ad.auto_message_id)


def read_questions(form: AdForm) -> tuple[tuple[str, str], ...]:
    """The questions of a new first message with their answers; empty pairs are left out."""
    answers = [*form.answers, *([""] * len(form.questions))]
    pairs = [(one.strip(), answer.strip()) for one, answer in zip(form.questions, answers, strict=False)]
    return tuple(pair for pair in pairs if any(pair))


def typed_ad_group(ad_group: AdGroup, account: AdAccount, lang: str) -> AdGroupForm:
    """An ad group as its form shows it."""
    starts_on, starts_time = _typed_start(ad_group.starts_at, account.timezone)
    ends_on, ends_time = _typed_end(ad_group.ends_at, account.timezone)
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


def _typed_start(at: datetime, timezone: str) -> tuple[str, str]:
    local = at.astimezone(ZoneInfo(timezone))
    return local.date().isoformat(), f"{local:%H:%M}" if local.time() != time() else ""


def _typed_end(at: datetime | None, timezone: str) -> tuple[str, str]:
    """An end at midnight is the end of the day before."""
    if at is None:
        return "", ""
    local = at.astimezone(ZoneInfo(timezone))
    if local.time() == time():
        return (local.date() - timedelta(days=1)).isoformat(), ""
    return local.date().isoformat(), f"{local:%H:%M}"


class Act(StrEnum):
    """Act on chosen rows; the values are the words of our addresses."""

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
"""What a row says when it is done."""
MOST_ROWS: Final = 200
"""Rows of one request: more than a page of the tree usually shows."""
_DEPTH: Final = {NodeKind.AD: 0, NodeKind.AD_GROUP: 1, NodeKind.CAMPAIGN: 2}


def read_places(values: Iterable[str]) -> tuple[Place, ...]:
    """The chosen rows, each once and those furthest down first: what is above may take them along.

    Args:
        values: level and number of each row, such as ``ad-groups-17``.

    Raises:
        Refused: INVALID, for no row, too many, or what is no row.
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
    """Refuse a budget or a bid where there is none.

    Raises:
        Refused: INVALID.
    """
    if act is Act.BUDGET and kind is NodeKind.AD:
        raise Refused(errors.INVALID, "An ad has no budget of its own. It uses the budget of its ad group.")
    if act is Act.BID and kind is not NodeKind.AD_GROUP:
        raise Refused(errors.INVALID, "Only an ad group has a bid.")
