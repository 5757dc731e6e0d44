"""Ads tree: delivery states, typed forms and bulk changes of its nodes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from itsdangerous import Signer

from contatto.accounts.model import AdAccount
from contatto.ads.model import (
    WINDOW_DAYS,
    Ad,
    AdGroup,
    AdNode,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    Facts,
    Money,
    NodeKind,
    NodeStatus,
    Pacing,
    Place,
    Spent,
    Targeting,
    ViewWindow,
)
from contatto.ads.rules.settings import is_eligible, least_budget_micros, most_of_day, next_steps
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults, read_amount, read_whole, typed_amount
from contatto.kit.i18n import N_
from contatto.kit.values import check_year, day_of, read_number
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket


class Delivering(StrEnum):
    """The delivery status, derived from all that stands in its way."""

    ON = "on"
    CAMPAIGN_OFF = "campaign_off"
    AD_GROUP_OFF = "ad_group_off"
    OFF = "off"
    NO_AD = "no_ad"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"
    NOT_ELIGIBLE = "not_eligible"
    CAPTURE_OFF = "capture_off"
    NO_WELCOME = "no_welcome"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    SPENT_TODAY = "spent_today"
    SPENT = "spent"


SAYS: Final = {
    Delivering.ON: N_("Delivering"),
    Delivering.CAMPAIGN_OFF: N_("Campaign is paused"),
    Delivering.AD_GROUP_OFF: N_("Ad group is paused"),
    Delivering.OFF: N_("Paused"),
    Delivering.NO_AD: N_("No ad is on"),
    Delivering.IN_REVIEW: N_("In review"),
    Delivering.REJECTED: N_("Rejected"),
    Delivering.NOT_ELIGIBLE: N_("Goal not available"),
    Delivering.CAPTURE_OFF: N_("Lead capture is off"),
    Delivering.NO_WELCOME: N_("Delivering without a welcome message"),
    Delivering.NOT_STARTED: N_("Not started yet"),
    Delivering.ENDED: N_("Schedule has ended"),
    Delivering.SPENT_TODAY: N_("Today's budget is spent"),
    Delivering.SPENT: N_("Budget is spent"),
}
REMEDIES: Final = {
    Delivering.NO_AD: N_("Add an ad, or turn one on."),
    Delivering.IN_REVIEW: N_("The operator reviews the ad before it is shown."),
    Delivering.REJECTED: N_("Correct what the reason names. The ad is then reviewed again."),
    Delivering.NOT_ELIGIBLE: N_(
        "One of the three countries is not available for this goal. Open the ad group."
    ),
    Delivering.CAPTURE_OFF: N_("Turn on automatic lead capture in Settings. Ads with the goal Lead need it."),
    Delivering.NO_WELCOME: N_("Add a welcome message with questions, so that people know what to write."),
    Delivering.NOT_STARTED: N_("Delivery starts on the first day of the schedule."),
    Delivering.ENDED: N_("Choose a later last day to run it again."),
    Delivering.SPENT_TODAY: N_("Delivery continues tomorrow. Raise the budget to continue now."),
    Delivering.SPENT: N_("Raise the total budget to run it again."),
}
PROBLEMS: Final = frozenset({Delivering.REJECTED, Delivering.NOT_ELIGIBLE, Delivering.CAPTURE_OFF})
"""States that only somebody's work ends."""


def is_showing(delivery: Delivering) -> bool:
    """Report whether ads are shown in this state."""
    return delivery in (Delivering.ON, Delivering.NO_WELCOME)


def ad_delivery(ad: Ad, above: Delivering | None) -> Delivering:
    """Return the state of an ad; ``above`` is the reason that stops its ad group, None without one."""
    if above is Delivering.OFF:
        return Delivering.AD_GROUP_OFF
    if above is not None:
        return above
    if ad.status is not NodeStatus.ACTIVE:
        return Delivering.OFF
    if ad.audit is not Audit.PASS:
        return Delivering.IN_REVIEW if ad.audit is Audit.AUDITING else Delivering.REJECTED
    return Delivering.ON if ad.auto_message_id else Delivering.NO_WELCOME


def ad_group_hurdle(
    ad_group: AdGroup, campaign: Campaign, facts: Facts, spends: tuple[Spent, Spent], at: datetime
) -> Delivering | None:
    """Return the reason that stops all ads of an ad group; None without one.

    ``spends`` are those of the ad group and of its campaign.
    """
    hurdles = {
        Delivering.CAMPAIGN_OFF: campaign.status is not NodeStatus.ACTIVE,
        Delivering.OFF: ad_group.status is not NodeStatus.ACTIVE,
        Delivering.NOT_ELIGIBLE: not is_eligible(ad_group.goal, facts),
        Delivering.CAPTURE_OFF: bool(next_steps(ad_group.goal, facts)),
        Delivering.NOT_STARTED: at < ad_group.starts_at,
        Delivering.ENDED: ad_group.ends_at is not None and ad_group.ends_at <= at,
    }
    hurdle = next((hurdle for hurdle, stands in hurdles.items() if stands), None)
    if hurdle is not None:
        return hurdle
    nodes: tuple[AdGroup | Campaign, ...] = (ad_group, campaign)
    for node, spent in zip(nodes, spends, strict=True):
        budget = node.budget_micros
        if budget is None:
            continue
        if node.budget_mode is BudgetMode.TOTAL:
            if spent.ever_micros >= budget:
                return Delivering.SPENT
        elif spent.day_micros >= most_of_day(node.budget_mode, budget):
            return Delivering.SPENT_TODAY
    return None


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, an ad group or an ad with what lies under it."""

    kind: NodeKind
    item: AdNode
    state: Delivering
    under: "tuple[Node, ...]" = ()

    def walk(self) -> "Iterator[Node]":
        """Return the node itself and all that lies under it."""
        yield self
        for node in self.under:
            yield from node.walk()


def best_state(nodes: Sequence[Node]) -> Delivering:
    """Return the state of the first node that is shown, else of the first one."""
    states = [node.state for node in nodes] or [Delivering.NO_AD]
    return next((state for state in states if is_showing(state)), states[0])


def distinguish_names(named: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of pairs of a name and a mark, and add the mark to repeated names."""
    counts = Counter(name for name, _ in named)
    return [f"{name} · {mark}" if counts[name] > 1 else name for name, mark in named]


def chat_link(base_url: str, ad: Ad, signer: Signer) -> str:
    """Return the link to an ad's chat: a tap on it counts once for each person and day."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), signer)}"


NEW_FORM_PATHS: Final = {
    NodeKind.CAMPAIGN: "/ads/campaigns/new",
    NodeKind.AD_GROUP: "/ads/campaigns/{}/ad-groups/new",
    NodeKind.AD: "/ads/ad-groups/{}/ads/new",
}
"""Addresses of the forms of new nodes, with a place for the number of the parent."""

type Pairs = Iterable[tuple[str, Any]]
"""Names and values of a form as they were sent; a name may come more than once."""

_HTML_NAMES: Final = {"country": "countries"}
LONGEST_TEXT: Final = 2_000
MOST_VALUES: Final = 300
NEW_MESSAGE: Final = "new"
"""Choice of a new welcome message instead of a saved one."""
_CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "budget_mode": {mode.value: mode for mode in BudgetMode},
    "pacing": {pacing.value: pacing for pacing in Pacing},
    "click_window_days": {str(WINDOW_DAYS[window]): window for window in ClickWindow if WINDOW_DAYS[window]},
    "view_window_days": {str(WINDOW_DAYS[window] or 0): window for window in ViewWindow},
}
"""Fields with a list, and the setting of window of its values."""
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


def new_ad_group_form(currency: str, lang: str) -> AdGroupForm:
    """Return the form as it is opened first."""
    return AdGroupForm(budget=typed_amount(_USUAL_BUDGET * least_budget_micros(currency), currency, lang))


def read_choice(form: AdGroupForm, field: str) -> Any:
    """Return the setting that was chosen from the list of a field."""
    choice = _CHOICES[field].get(getattr(form, field))
    if choice is None:
        raise Refused(errors.INVALID, "%(field)s: choose one from the list.", field=field)
    return choice


def read_goal(form: AdGroupForm) -> Goal:
    if form.goal not in list(Goal):
        raise Refused(errors.INVALID, "goal: choose Conversation or Lead.")
    return Goal(form.goal)


def read_money(form: AdGroupForm, currency: str, lang: str) -> Money:
    """Read budget and bid; an empty bid means the lowest cost.

    Raises INVALID, for all that is wrong with them.
    """
    mode: BudgetMode = read_choice(form, "budget_mode")
    budget, faults = None, Faults()
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
    """Return the line that people see first. Raises INVALID, when there is none."""
    if not form.headline.strip():
        raise Refused(errors.INVALID, "headline: enter a headline.")
    return form.headline


def read_frequency(form: AdGroupForm, lang: str) -> tuple[int | None, int | None]:
    """Read the views and days of the frequency cap; None for an empty field.

    Raises INVALID, for all that is wrong with them.
    """
    faults = Faults()
    views = faults.read(lambda: read_whole("frequency", form.frequency, lang), None)
    days = faults.read(lambda: read_whole("frequency_schedule", form.frequency_schedule, lang), None)
    faults.check()
    return views, days


def read_times(form: AdGroupForm, timezone: str) -> tuple[datetime | None, datetime | None]:
    """Read start and end; None means at once, or no end. An end day without a time is included."""
    moments: dict[str, datetime | None] = {}
    sides = (("starts_on", form.starts_on, form.starts_time), ("ends_on", form.ends_on, form.ends_time))
    for field, day_text, time_text in sides:
        check_year(field, day_text)
        day = day_of(day_text)
        if day_text and day is None:
            raise Refused(errors.INVALID, "%(field)s: enter a day as YYYY-MM-DD.", field=field)
        try:
            at = time.fromisoformat(time_text).replace(tzinfo=None) if time_text else None
        except ValueError as error:
            raise Refused(errors.INVALID, "%(field)s: enter a time as HH:MM.", field=field) from error
        if day is None and at is not None:
            raise Refused(errors.INVALID, "%(field)s: choose a day for this time.", field=field)
        if day is not None and at is None and field == "ends_on":
            day += timedelta(days=1)
        local = datetime.combine(day, at or time(), ZoneInfo(timezone)) if day else None
        moments[field] = local.astimezone(UTC) if local else None
    return moments["starts_on"], moments["ends_on"]


def typed_ad_group(ad_group: AdGroup, account: AdAccount, lang: str) -> AdGroupForm:
    """Return the form of a saved ad group."""
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

    A value is level and number of a row, such as ``ad-groups-17``. Raises INVALID, also for no row.
    """
    places: list[Place] = []
    for value in dict.fromkeys(values):
        kind, _, number = value.rpartition("-")
        read = read_number(number)
        if kind not in set(NodeKind) or read is None:
            raise Refused(errors.INVALID, "A selected row is no longer in the table. Reload the page.")
        places.append((NodeKind(kind), read))
    if not places:
        raise Refused(errors.INVALID, "Choose at least one row.")
    if len(places) > MOST_ROWS:
        raise Refused(errors.INVALID, "Choose at most %(most)s rows.", most=MOST_ROWS)
    return tuple(sorted(places, key=lambda place: _DEPTH[place[0]]))


def check_fits(act: Act, kind: NodeKind) -> None:
    """Refuse a budget of an ad, and a bid of anything but an ad group."""
    if act is Act.BUDGET and kind is NodeKind.AD:
        raise Refused(errors.INVALID, "An ad has no budget of its own. It uses the budget of its ad group.")
    if act is Act.BID and kind is not NodeKind.AD_GROUP:
        raise Refused(errors.INVALID, "Only an ad group has a bid.")
