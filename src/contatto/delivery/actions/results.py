"""Results of delivery for people: explanations, evaluations, outlooks, trials and lookalikes."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import batched
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np

from contatto.accounts.model import AdAccount
from contatto.ads.model import AdGroup, BudgetMode, Campaign, NodeFilter, Page
from contatto.ads.store import list_ad_groups, list_campaigns, list_live_ads
from contatto.audiences.actions import keep_lookalike
from contatto.audiences.model import Audience, AudienceKind, Fingerprint, Lookalike
from contatto.audiences.rules import conversion_of, lookalike_of, source_number
from contatto.audiences.store import find_audience_by_number, list_due_lookalikes
from contatto.delivery.actions.log import load_added, read_lines, read_record
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.actions.training import load_learning, rebuild_marketplace
from contatto.delivery.model import TrialDay
from contatto.delivery.rules.results import (
    BUCKETS,
    Alike,
    Arm,
    Earned,
    Expected,
    Lift,
    Pair,
    Wanted,
    add_arms,
    choose_alike,
    expect,
    measure_lift,
)
from contatto.delivery.rules.targeting import DEVICE
from contatto.delivery.store import log as entries
from contatto.delivery.store import models
from contatto.delivery.store.ledger import (
    list_charged_since,
    list_earned_since,
    list_trials,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import micros
from contatto.learning.columns import CLICK, CONVERSATION, LEAD, SPAM
from contatto.learning.evaluation import (
    STAGES,
    Floats,
    PredictionScore,
    Value,
    Weighed,
    doubly_robust,
    effective_count,
    inverse_propensity,
    score_predictions,
    self_normalized,
    weigh_record,
)
from contatto.learning.explanations import DecisionExplanation, explain_record
from contatto.learning.lines import AdGroupLine, AdLine, RankCandidate, RankLine
from contatto.learning.marketplace import Marketplace, rank_candidates
from contatto.learning.model import NOBODY, EntryKind, Record
from contatto.learning.replica import Replica
from contatto.measurement.model import ConversionKind, Goal
from contatto.measurement.rules import local_day
from contatto.measurement.store import list_converted_persons


class Verdict(StrEnum):
    """What became of an ad in an auction."""

    SHOWN = "shown"
    OUTBID = "outbid"
    BELOW_FLOOR = "below_floor"
    LEFT_OUT = "left_out"
    NOT_LIVE = "not_live"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what it rested on; ``explained`` is None when what it rested on is not kept."""

    record: Record
    explained: DecisionExplanation | None

    @property
    def is_erased(self) -> bool:
        """Return whether its viewer was erased: then it cannot be made again."""
        return not self.record.history

    def verdict_of(self, ad: int, ad_group: int) -> tuple[Verdict, str]:
        """What became of an ad, and for one that was left out why."""
        if ad == self.record.ad:
            return Verdict.SHOWN, ""
        if ad not in self.record.ads:
            why = self.record.left_out.get(ad_group, "")
            return (Verdict.LEFT_OUT, why) if why else (Verdict.NOT_LIVE, "")
        offer = self.explained.offers.get(ad, 0) if self.explained else 0
        is_low = self.explained is not None and offer < self.record.floor_micros
        return (Verdict.BELOW_FLOOR if is_low else Verdict.OUTBID), ""


def explain_decision(tx: Tx, business_id: str, nonce: int) -> Explanation:
    """Make a decision of the log again, and say why it came out so.

    Raises:
        Refused: NOT_FOUND when the log does not have it, or no longer.
    """
    entry = entries.find_decision(tx, business_id, nonce)
    if entry is None:
        raise Refused(errors.NOT_FOUND)
    record = read_record(entry.body)
    if Explanation(record, None).is_erased:
        return Explanation(record, None)
    if not load_added(tx, business_id, record):
        return Explanation(record, None)
    if not record.version:
        return Explanation(record, explain_record(seed_of(business_id), None, record))
    raw = _model_of(tx, business_id, record.version)
    explained = None if raw is None else explain_record(seed_of(business_id), raw, record)
    return Explanation(record, explained)


def _model_of(tx: Tx, business_id: str, version: int) -> bytes | None:
    """The bytes of a model, or the same bytes made anew from one before it and the log."""
    raw = models.load_model(tx, business_id, version)
    if raw is not None:
        return raw
    found = next((model for model in models.list_models(tx, business_id) if model.version == version), None)
    built = None if found is None else rebuild_marketplace(tx, business_id, found.through)
    return None if built is None else built.marketplace.save()


AT_ONCE: Final = 500
QUESTIONS: Final = {
    "click": (CLICK, EntryKind.VIEW, EntryKind.CLICK),
    "conversation": (CONVERSATION, EntryKind.CLICK, EntryKind.CONVERSATION),
    "lead": (LEAD, EntryKind.CONVERSATION, EntryKind.LEAD),
    "spam": (SPAM, EntryKind.CONVERSATION, EntryKind.SPAM),
}
"""What is estimated: by which head, given what, and what came."""
_REWARDS: Final = (EntryKind.CLICK, EntryKind.CONVERSATION, EntryKind.LEAD)


@dataclass(frozen=True, slots=True)
class Choice:
    """What choosing as a model does would have brought for each decision, by three estimators."""

    logged: Value
    inverse: Value
    normalized: Value
    robust: Value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How the estimates of the log did, by question, and what a model would have chosen, by stage.

    ``effective`` says as how many decisions those count that the model would have made too.
    """

    decisions: int
    judged: dict[str, PredictionScore]
    choices: dict[str, Choice] = field(default_factory=dict)
    effective: float = 0.0


def evaluate_log(
    tx: Tx, business_id: str, from_ts: int, until_ts: int, version: int = 0, most: int = 2_000
) -> Evaluation | None:
    """Judge the estimates of decisions in a span, and what a model would have chosen at the newest of them.

    Leads come late: end the span so long ago that what comes has come.

    Args:
        tx: the transaction.
        business_id: whose log it is.
        from_ts: first microsecond of the span.
        until_ts: the first after it.
        version: the model that is asked; 0 for none.
        most: at so many decisions at most the model is asked.

    Returns:
        None when the model is not kept.
    """
    raw = models.load_model(tx, business_id, version) if version else None
    if version and raw is None:
        return None
    log = _read_log(tx, business_id, from_ts, until_ts, most)
    judged = {}
    for name, (head, given, came) in QUESTIONS.items():
        asked = [nonce for nonce in log.estimates if (nonce, given) in log.happened]
        if asked:
            outcomes = np.array([(nonce, came) in log.happened for nonce in asked], np.float64)
            judged[name] = score_predictions(
                np.array([log.estimates[nonce][head] for nonce in asked]), outcomes
            )
    if raw is None or not log.newest:
        return Evaluation(log.decisions, judged)
    replica = Replica(seed_of(business_id), version, raw)
    weighed = [weigh_record(replica, record) for record in log.newest]
    weights = np.array([each.weight for each in weighed])
    choices = {stage: _choice(place, log, weighed, weights) for place, stage in enumerate(STAGES)}
    return Evaluation(log.decisions, judged, choices, effective_count(weights))


def _choice(place: int, log: "_Log", weighed: list[Weighed], weights: Floats) -> Choice:
    rewards = np.array([(each.nonce, _REWARDS[place]) in log.happened for each in log.newest], np.float64)
    chosen = np.array([each.chosen[place] for each in weighed])
    expected = np.array([each.expected[place] for each in weighed])
    return Choice(
        inverse_propensity(rewards, np.ones(len(rewards))),
        inverse_propensity(rewards, weights),
        self_normalized(rewards, weights),
        doubly_robust(rewards, weights, chosen, expected),
    )


@dataclass(slots=True)
class _Log:
    """Decisions of a span: their estimates, the newest of them whole, and what became of impressions."""

    newest: deque[Record]
    decisions: int = 0
    estimates: dict[int, tuple[float, ...]] = field(default_factory=dict)
    happened: set[tuple[int, EntryKind]] = field(default_factory=set)


def _read_log(tx: Tx, business_id: str, from_ts: int, until_ts: int, most: int) -> _Log:
    found, lines = _Log(deque(maxlen=most)), dict[int, list[AdGroupLine | AdLine]]()
    for entry in entries.list_all_entries(tx, business_id, 0, AT_ONCE):
        if entry.kind is EntryKind.LINES:
            lines[entry.nonce] = read_lines(entry.body)
        elif entry.kind is not EntryKind.DECISION:
            found.happened.add((entry.nonce, entry.kind))
        elif from_ts <= entry.ts < until_ts:
            record = read_record(entry.body)
            record.added = record.added or lines.get(record.lines, [])
            found.decisions += 1
            found.newest.append(record)
            if record.ad:
                found.estimates[record.nonce] = record.p
    return found


LOOK_BACK: Final = timedelta(days=14)
WEEK: Final = 7
_KINDS: Final = {Goal.LEAD: ConversionKind.LEAD, Goal.CONVERSATION: ConversionKind.CONVERSATION}


@dataclass(frozen=True, slots=True)
class Outlook:
    """An ad group with what its budget is, and is expected to bring, in a week; ``doubled`` with twice of it.

    Without a budget of its own ``budget_micros`` is what it spent in a week, as ``spent_micros`` is. Who
    began less than two weeks ago is judged by the days since. No more than twice that is counted on: what
    is not spent brings nothing. None: there is nothing to go by.
    """

    ad_group: AdGroup
    budget_micros: int
    spent_micros: int
    expected: Expected | None
    doubled: Expected | None


def list_outlooks(tx: Tx, account: AdAccount) -> list[Outlook]:
    """What the ad groups of an account are expected to bring, by the last two weeks."""
    own, like = _load_earned(tx, account)
    outlooks = []
    for group, earned, days in own.values():
        lately = earned.spend_micros * WEEK // days
        budget = _weekly(group) or lately
        most = 2 * lately or 2 * budget
        one, two = (expect(earned, like[group.goal], min(times * budget, most)) for times in (1, 2))
        outlooks.append(Outlook(group, budget, lately, one, two))
    return outlooks


def expect_of(tx: Tx, account: AdAccount, ad_group: AdGroup, budget_micros: int) -> Expected | None:
    """What a budget is expected to bring an ad group of an account; None: there is nothing to go by."""
    own, like = _load_earned(tx, account)
    earned = own[ad_group.id].earned if ad_group.id in own else Earned(0, 0)
    return expect(earned, like[ad_group.goal], budget_micros)


class _Lately(NamedTuple):
    """What an ad group earned in the days since it was charged first, at most those that are looked back."""

    ad_group: AdGroup
    earned: Earned
    days: int


def _load_earned(tx: Tx, account: AdAccount) -> tuple[dict[str, _Lately], dict[Goal, Earned]]:
    """What each ad group earned lately, by id, and all of each goal."""
    groups = list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page())
    today = date.fromisoformat(local_day(micros(tx.now), account.timezone))
    day = today - LOOK_BACK
    charged = list_charged_since(tx, account.business_id, [group.id for group in groups], day)
    earned = list_earned_since(tx, account.business_id, account.id, day)
    own = {}
    for group in groups:
        spend, since = charged.get(group.id, (0, day))
        conversions = earned.get((group.id, _KINDS[group.goal]), 0)
        days = min((today - since).days + 1, LOOK_BACK.days)
        own[group.id] = _Lately(group, Earned(conversions, spend), days)
    return own, {
        goal: _sum([each.earned for each in own.values() if each.ad_group.goal is goal]) for goal in Goal
    }


def _weekly(group: AdGroup) -> int:
    amount = group.budget_micros or 0
    if amount and group.budget_mode in (BudgetMode.DAY, BudgetMode.DYNAMIC_DAY):
        return WEEK * amount
    if amount and group.budget_mode is BudgetMode.TOTAL:
        return amount
    return 0


def _sum(some: list[Earned]) -> Earned:
    return Earned(sum(earned.conversions for earned in some), sum(each.spend_micros for each in some))


TRIAL_LOOK_BACK: Final = timedelta(days=28)
"""So many days are measured together."""


@dataclass(frozen=True, slots=True)
class CampaignLift:
    """What learning brought to the ad groups of one goal in a campaign; None for all campaigns together."""

    campaign: Campaign | None
    goal: Goal
    learned: Arm
    by_lot: Arm
    lift: Lift


def list_lifts(tx: Tx, account: AdAccount) -> list[CampaignLift]:
    """The lift of each campaign of an ad account in the last four weeks, and of all together; by goal.

    A campaign that was shown to nobody who takes part is left out, and so is the sum where it has one part.
    """
    groups = {
        group.id: group for group in list_ad_groups(tx, account.business_id, account.id, NodeFilter(), Page())
    }
    since = (tx.now - TRIAL_LOOK_BACK).date().isoformat()
    counted = list_trials(tx, account.business_id, groups, since)
    by_part: dict[tuple[str, Goal], list[TrialDay]] = {}
    for each in counted:
        group = groups[each.ad_group_id]
        by_part.setdefault((group.campaign_id, group.goal), []).append(each)
    campaigns = {
        campaign.id: campaign
        for campaign in list_campaigns(tx, account.business_id, account.id, NodeFilter(), Page())
    }
    rows = [_measure(campaigns.get(name), goal, days) for (name, goal), days in by_part.items()]
    rows.sort(key=lambda row: (row.goal, "" if row.campaign is None else row.campaign.name))
    return _sums(by_part) + rows


def _sums(by_part: Mapping[tuple[str, Goal], list[TrialDay]]) -> list[CampaignLift]:
    sums = []
    for goal in Goal:
        parts = [days for (_, part_goal), days in by_part.items() if part_goal is goal]
        if len(parts) > 1:
            sums.append(_measure(None, goal, [day for days in parts for day in days]))
    return sums


def _measure(campaign: Campaign | None, goal: Goal, days: Sequence[TrialDay]) -> CampaignLift:
    by_group: dict[str, list[TrialDay]] = {}
    for day in days:
        by_group.setdefault(day.ad_group_id, []).append(day)
    pairs = [
        Pair(
            _arm_of(goal, [day for day in own if day.trial > 0]),
            _arm_of(goal, [day for day in own if day.trial < 0]),
        )
        for own in by_group.values()
    ]
    learned, by_lot = add_arms([pair.learned for pair in pairs]), add_arms([each.by_lot for each in pairs])
    return CampaignLift(campaign, goal, learned, by_lot, measure_lift(pairs))


def _arm_of(goal: Goal, days: Sequence[TrialDay]) -> Arm:
    came, seen = [0] * BUCKETS, [0] * BUCKETS
    for day in days:
        bucket = abs(day.trial) - 1
        came[bucket] += day.leads if goal is Goal.LEAD else day.conversations
        seen[bucket] += day.views
    spent = sum(day.charged_micros for day in days)
    return Arm(sum(seen), spent, sum(came), tuple(zip(came, seen, strict=True)))


REFRESHED: Final = timedelta(hours=20)
"""A lookalike is found anew once a night."""
AGAIN: Final = timedelta(hours=1)
"""One that has nobody yet is tried again after this time."""
MOST_DECISIONS: Final = 200_000
"""So many of the latest decisions are read, to know whom delivery knows."""
MOST_VIEWERS: Final = 50_000
_AT_ONCE: Final = 500

type Keep = Callable[[Tx], None]


class LookalikeFinder:
    """Goes through the ad accounts with lookalikes that are to be found, one by one."""

    def __init__(self) -> None:
        self._due: Iterator[list[Audience]] | None = None
        self._writes: Iterator[Keep] = iter(())

    def start_over(self) -> None:
        """Begin a round."""
        self._due = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Return the next write of members, and None at the end; find those of the next ad account first."""
        if (write := next(self._writes, None)) is not None:
            return write
        if self._due is None:
            self._due = iter(_by_account(list_due_lookalikes(tx, tx.now - REFRESHED, tx.now - AGAIN)))
        audiences = next(self._due, None)
        if audiences is None:
            return None
        self._writes = _list_writes(find_alike(tx, audiences), tx.now)
        return next(self._writes)


def _by_account(audiences: Sequence[Audience]) -> list[list[Audience]]:
    accounts: dict[tuple[str, str], list[Audience]] = {}
    for audience in audiences:
        accounts.setdefault((audience.business_id, audience.ad_account_id), []).append(audience)
    return list(accounts.values())


def _list_writes(searches: Sequence[tuple[Audience, Alike]], found_at: datetime) -> Iterator[Keep]:
    for audience, result in searches:
        prints = [print_of(viewer) for viewer in result.viewers]
        lookalike = Lookalike(
            audience.id, audience.business_id, found_at, result.known, result.lift, result.low, result.high
        )
        yield from keep_lookalike(audience, prints, lookalike)


def print_of(viewer: str) -> Fingerprint:
    """Whom delivery remembers a viewer as, in the form in which audiences keep their members."""
    return UUID(viewer).bytes


def find_alike(tx: Tx, audiences: Sequence[Audience]) -> list[tuple[Audience, Alike]]:
    """Whom lookalikes of one ad account take in now."""
    business_id, account_id = audiences[0].business_id, audiences[0].ad_account_id
    learning = load_learning(tx, business_id)
    viewers = list_known_viewers(tx, business_id) if learning.version else {}
    groups = list({
        live.ad_group.id: live.ad_group
        for live in list_live_ads(tx, business_id)
        if live.ad_group.ad_account_id == account_id
    }.values())  # fmt: skip
    scored: dict[int, list[float]] = {}
    alike = []
    for audience in audiences:
        scores = dict.fromkeys(viewers, 0.0)
        aimed = _aimed(groups, audience)
        for group in aimed:
            if group.number not in scored:
                scored[group.number] = _score(learning.marketplace, group, viewers)
            for viewer, score in zip(viewers, scored[group.number], strict=True):
                scores[viewer] += score / len(aimed)
        spec = lookalike_of(audience)
        wanted = Wanted(spec)
        left_out = frozenset() if spec.with_source else list_sources(tx, audience)
        able = {
            viewer: scores[viewer]
            for viewer, last in viewers.items()
            if wanted.takes(last.country, str((last.features or {}).get(DEVICE, "")))
        }
        leads = sum(_leads_of(learning.marketplace, group) for group in aimed)
        alike.append((audience, choose_alike(able, spec.size, left_out, leads)))
    return alike


def _aimed(groups: Sequence[AdGroup], audience: Audience) -> list[AdGroup]:
    """The ad groups that look for an audience; else those of the goal Lead, or all."""
    wanted = [group for group in groups if str(audience.number) in group.audience_ids]
    return wanted or [group for group in groups if group.goal is Goal.LEAD] or list(groups)


def list_known_viewers(tx: Tx, business_id: str) -> dict[str, RankCandidate]:
    """Viewers with consent by whom delivery remembers them as, with what the last request for each said."""
    known_viewers: dict[str, RankCandidate] = {}
    before = None
    for _ in range(MOST_DECISIONS // _AT_ONCE):
        latest = entries.list_decisions(tx, business_id, _AT_ONCE, before)
        for entry in latest:
            record = read_record(entry.body)
            if record.viewer != NOBODY and record.viewer not in known_viewers:
                known_viewers[record.viewer] = RankCandidate(record.viewer, record.country, record.features)
        if len(latest) < _AT_ONCE or len(known_viewers) >= MOST_VIEWERS:
            break
        before = latest[-1].seq
    return known_viewers


def _leads_of(marketplace: Marketplace, group: AdGroup) -> int:
    groups = marketplace.market.groups
    place = groups.by_id.get(str(group.number))
    return 0 if place is None else groups.groups[place].leads


def _score(marketplace: Marketplace, group: AdGroup, viewers: Mapping[str, RankCandidate]) -> list[float]:
    market = marketplace.market
    line = RankLine(market.now, "", group.business_id, str(group.number), list(viewers.values()))
    return rank_candidates(market, line, _ignore).scores


def list_sources(tx: Tx, audience: Audience) -> frozenset[str]:
    """The viewers who are people of the source of a lookalike, as far as taps and views tell who they are.

    Whoever is on a list of customers is known by contact details that no view tells: of these there are none.
    """
    number = source_number(audience)
    source = None if number is None else find_audience_by_number(tx, audience.business_id, number)
    if source is None or source.kind is not AudienceKind.RULE:
        return frozenset()
    nonces: set[int] = set()
    persons = list_converted_persons(tx, audience.business_id, conversion_of(source))
    for some in batched(sorted(persons), _AT_ONCE):
        nonces |= entries.list_nonces_of_persons(tx, audience.business_id, some)
    decisions = entries.list_decisions_of(tx, audience.business_id, nonces)
    return frozenset(read_record(decision.body).viewer for decision in decisions) - {NOBODY}


def _ignore(_fault: Any) -> None:
    """What cannot be used of what was said of a viewer is left out."""
