"""Results of delivery: explanations, evaluations, forecasts, lift against random ads, and lookalikes."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from itertools import batched, chain
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
import sqlalchemy as sa

from contatto.accounts.model import AdAccount
from contatto.ads.model import AdGroup, BudgetMode, Campaign, NodeFilter, Page
from contatto.ads.store import list_nodes, load_live_nodes
from contatto.audiences.actions import list_lookalike_writes
from contatto.audiences.model import Audience, AudienceKind, Lookalike, LookalikeSpec
from contatto.audiences.rules import conversion_of, source_number
from contatto.audiences.store import find_audience, list_due_lookalikes
from contatto.delivery import rules, store
from contatto.delivery.actions.ledger import load_added, read_lines, read_record
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.actions.training import Keep, load_learning, rebuild_marketplace
from contatto.kit.db.tx import Tx
from contatto.kit.errors import check_found
from contatto.kit.values import micros
from contatto.learning import evaluation
from contatto.learning.columns import CLICK, CONVERSATION, LEAD, SPAM
from contatto.learning.marketplace import Replica, rank_candidates
from contatto.learning.model import NOBODY, AdGroupLine, AdLine, EntryKind, RankCandidate, RankLine, Record
from contatto.measurement.model import ConversionKind, Goal
from contatto.measurement.rules import local_day
from contatto.measurement.store import conversions, list_converted_persons


class Verdict(StrEnum):
    """Result of an ad in an auction."""

    SHOWN = "shown"
    OUTBID = "outbid"
    BELOW_FLOOR = "below_floor"
    LEFT_OUT = "left_out"
    NOT_LIVE = "not_live"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its replay; ``explained`` is None when its model or data were deleted."""

    record: Record
    explained: evaluation.DecisionExplanation | None

    def verdict_of(self, ad: int, ad_group: int) -> tuple[Verdict, str]:
        """Return the result of an ad, with the reason why it was left out."""
        if ad == self.record.ad:
            return Verdict.SHOWN, ""
        if ad not in self.record.ads:
            why = self.record.left_out.get(ad_group, "")
            return (Verdict.LEFT_OUT, why) if why else (Verdict.NOT_LIVE, "")
        offer = self.explained.offers.get(ad, 0) if self.explained else 0
        is_low = self.explained is not None and offer < self.record.floor_micros
        return (Verdict.BELOW_FLOOR if is_low else Verdict.OUTBID), ""


def explain_decision(tx: Tx, business_id: str, nonce: int) -> Explanation:
    """Replay a decision of the log, and explain its result.

    Raises NOT_FOUND when the log does not have it any more.
    """
    is_decision = store.log.c.nonce == nonce, store.log.c.kind == EntryKind.DECISION
    entry = check_found(next(iter(store.list_log(tx, business_id, *is_decision, limit=1)), None))
    record = read_record(entry.body)
    if not record.history or not load_added(tx, business_id, record):  # an erased viewer has no history
        return Explanation(record, None)
    raw = None
    if record.version:
        raw = store.load_model(tx, business_id, record.version)
        if raw is None:  # rebuild the same bytes from an earlier model and the log
            versions = store.list_models(tx, business_id)
            version = next((model for model in versions if model.version == record.version), None)
            rebuilt = None if version is None else rebuild_marketplace(tx, business_id, version.through)
            if rebuilt is None:
                return Explanation(record, None)
            raw = rebuilt.marketplace.save()
    return Explanation(record, evaluation.explain_record(seed_of(business_id), raw, record))


AT_ONCE: Final = 500
"""Entries that one statement reads."""
QUESTIONS: Final = {
    "click": (CLICK, EntryKind.VIEW, EntryKind.CLICK),
    "conversation": (CONVERSATION, EntryKind.CLICK, EntryKind.CONVERSATION),
    "lead": (LEAD, EntryKind.CONVERSATION, EntryKind.LEAD),
    "spam": (SPAM, EntryKind.CONVERSATION, EntryKind.SPAM),
}
"""Model head of each question, the entry that is its condition, and the entry of a positive outcome."""
MOST_EVALUATED: Final = 2_000
"""A model is evaluated on this many of the newest decisions."""
_REWARDS: Final = (EntryKind.CLICK, EntryKind.CONVERSATION, EntryKind.LEAD)


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """Value of a model's choices per decision: as logged, and by three estimators."""

    logged: evaluation.Value
    inverse: evaluation.Value
    normalized: evaluation.Value
    robust: evaluation.Value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality of logged predictions by question, and value of a model's choices by stage.

    ``effective`` is the effective sample size of the importance weights.
    """

    decisions: int
    judged: dict[str, evaluation.PredictionScore]
    choices: dict[str, PolicyValue] = field(default_factory=dict)
    effective: float = 0.0


def evaluate_log(
    tx: Tx, business_id: str, from_ts: int, until_ts: int, version: int = 0
) -> Evaluation | None:
    """Score the predictions of a span, and estimate the value of a model's choices in its newest decisions.

    Outcomes arrive late, so end the span (microseconds) before them. Without ``version`` only predictions are
    scored. The result is None when the bytes of the model were deleted.
    """
    raw = store.load_model(tx, business_id, version) if version else None
    if version and raw is None:
        return None
    decisions = 0
    newest: deque[Record] = deque(maxlen=MOST_EVALUATED)
    logged: dict[int, tuple[float, ...]] = {}
    events: set[tuple[int, EntryKind]] = set()
    lines: dict[int, list[AdGroupLine | AdLine]] = {}
    for entry in store.list_all_entries(tx, business_id, 0, AT_ONCE):
        if entry.kind is EntryKind.LINES:
            lines[entry.nonce] = read_lines(entry.body)
        elif entry.kind is not EntryKind.DECISION:
            events.add((entry.nonce, entry.kind))
        elif from_ts <= entry.ts < until_ts:
            record = read_record(entry.body)
            record.added = record.added or lines.get(record.lines, [])
            decisions += 1
            newest.append(record)
            if record.ad:
                logged[record.nonce] = record.p
    judged = {}
    for name, (head, condition, outcome) in QUESTIONS.items():
        nonces = [nonce for nonce in logged if (nonce, condition) in events]
        if nonces:
            outcomes = np.array([(nonce, outcome) in events for nonce in nonces], np.float64)
            judged[name] = evaluation.score_predictions(
                np.array([logged[nonce][head] for nonce in nonces]), outcomes
            )
    if raw is None or not newest:
        return Evaluation(decisions, judged)
    replica = Replica(seed_of(business_id), version, raw)
    weighed = [evaluation.weigh_record(replica, record) for record in newest]
    weights = np.array([item.weight for item in weighed])
    choices = {}
    for place, stage in enumerate(evaluation.STAGES):
        rewards = np.array([(record.nonce, _REWARDS[place]) in events for record in newest], np.float64)
        chosen = np.array([item.chosen[place] for item in weighed])
        expected = np.array([item.expected[place] for item in weighed])
        choices[stage] = PolicyValue(
            evaluation.inverse_propensity(rewards, np.ones(len(rewards))),
            evaluation.inverse_propensity(rewards, weights),
            evaluation.self_normalized(rewards, weights),
            evaluation.doubly_robust(rewards, weights, chosen, expected),
        )
    return Evaluation(decisions, judged, choices, evaluation.effective_count(weights))


LOOK_BACK: Final = timedelta(days=14)
WEEK: Final = 7
_KINDS: Final = {Goal.LEAD: ConversionKind.LEAD, Goal.CONVERSATION: ConversionKind.CONVERSATION}


@dataclass(frozen=True, slots=True)
class Outlook:
    """An ad group with the forecast for its weekly budget; ``doubled`` is for twice the budget.

    Without a budget of its own, ``budget_micros`` is its weekly spending ``spent_micros``. A younger ad group
    counts only the days since its first charge. Forecasts cover at most twice the spending. They are None
    without any spending or conversions for the goal.
    """

    ad_group: AdGroup
    budget_micros: int
    spent_micros: int
    expected: rules.Forecast | None
    doubled: rules.Forecast | None


def list_outlooks(tx: Tx, account: AdAccount) -> list[Outlook]:
    """Forecast the conversions of an account's ad groups, from the last two weeks."""
    own, by_goal = _load_earnings(tx, account)
    outlooks = []
    for group, earnings, days in own.values():
        spent = earnings.spend_micros * WEEK // days
        budget = spent
        if group.budget_micros and group.budget_mode in (BudgetMode.DAY, BudgetMode.DYNAMIC_DAY):
            budget = WEEK * group.budget_micros
        elif group.budget_micros and group.budget_mode is BudgetMode.TOTAL:
            budget = group.budget_micros
        most = 2 * spent or 2 * budget
        one, two = (rules.forecast(earnings, by_goal[group.goal], min(n * budget, most)) for n in (1, 2))
        outlooks.append(Outlook(group, budget, spent, one, two))
    return outlooks


def forecast_ad_group(
    tx: Tx, account: AdAccount, ad_group: AdGroup, budget_micros: int
) -> rules.Forecast | None:
    """Forecast the conversions of an ad group for a budget; None without any data."""
    own, by_goal = _load_earnings(tx, account)
    earnings = own[ad_group.id][1] if ad_group.id in own else rules.Earnings(0, 0)
    return rules.forecast(earnings, by_goal[ad_group.goal], budget_micros)


def _load_earnings(
    tx: Tx, account: AdAccount
) -> tuple[dict[str, tuple[AdGroup, rules.Earnings, int]], dict[Goal, rules.Earnings]]:
    """Return each ad group by id with its results and days since its first charge, and the sums by goal."""
    groups = list_nodes(tx, AdGroup, account.business_id, account.id, NodeFilter(), Page())
    today = date.fromisoformat(local_day(micros(tx.now), account.timezone))
    day = today - LOOK_BACK
    days = store.charged_days.c
    charged_days = sa.select(
        days.ad_group_id, sa.func.sum(days.charged_micros), sa.func.min(days.day)
    ).where(
        days.business_id == account.business_id, days.ad_group_id.in_(sorted(group.id for group in groups)),
        days.day >= day.isoformat(), days.charged_micros > 0,
    )  # fmt: skip
    charged = {
        name: (int(spend), date.fromisoformat(since))
        for name, spend, since in map(tuple, tx.execute(charged_days.group_by(days.ad_group_id)))
    }
    won = conversions.c
    conversions_won = sa.select(won.ad_group_id, won.kind, sa.func.count()).where(
        won.business_id == account.business_id, won.ad_account_id == account.id,
        won.withdrawn_at.is_(None), won.day >= day.isoformat(),
    )  # fmt: skip
    by_group_and_kind = tx.execute(conversions_won.group_by(won.ad_group_id, won.kind))
    earned = {(name, kind): int(count) for name, kind, count in map(tuple, by_group_and_kind)}
    own = {}
    sums = dict.fromkeys(Goal, rules.Earnings(0, 0))
    for group in groups:
        spend, since = charged.get(group.id, (0, day))
        earnings = rules.Earnings(earned.get((group.id, _KINDS[group.goal]), 0), spend)
        own[group.id] = group, earnings, min((today - since).days + 1, LOOK_BACK.days)
        total = sums[group.goal]
        sums[group.goal] = rules.Earnings(
            total.conversions + earnings.conversions, total.spend_micros + earnings.spend_micros
        )
    return own, sums


TRIAL_LOOK_BACK: Final = timedelta(days=28)
"""Period of the measured lift."""


@dataclass(frozen=True, slots=True)
class CampaignLift:
    """Lift of learning for the ad groups of one goal in a campaign; None for all campaigns together."""

    campaign: Campaign | None
    goal: Goal
    learned: rules.Arm
    random: rules.Arm
    lift: rules.Lift


def list_lifts(tx: Tx, account: AdAccount) -> list[CampaignLift]:
    """Measure the lift of each campaign in the last four weeks, after the sum of each goal.

    Campaigns without views in the trial are left out, and so is the sum of a single campaign.
    """
    groups = {
        group.id: group
        for group in list_nodes(tx, AdGroup, account.business_id, account.id, NodeFilter(), Page())
    }
    since = (tx.now - TRIAL_LOOK_BACK).date().isoformat()
    by_part: dict[tuple[str, Goal], list[rules.TrialDay]] = {}
    trials = store.trials.c
    sums_of = [sa.func.sum(trials[name]) for name in store.COUNTS]
    query = sa.select(trials.ad_group_id, trials.trial, *sums_of).where(
        trials.business_id == account.business_id, trials.ad_group_id.in_(sorted(groups)), trials.day >= since
    )  # fmt: skip
    rows_of_trial = tx.execute(query.group_by(trials.ad_group_id, trials.trial))
    for ad_group_id, trial, *counts in map(tuple, rows_of_trial):
        group = groups[ad_group_id]
        day = rules.TrialDay(account.business_id, ad_group_id, "", trial, *map(int, counts))
        by_part.setdefault((group.campaign_id, group.goal), []).append(day)
    campaigns = {
        campaign.id: campaign
        for campaign in list_nodes(tx, Campaign, account.business_id, account.id, NodeFilter(), Page())
    }
    rows = [_measure(campaigns.get(name), goal, days) for (name, goal), days in by_part.items()]
    rows.sort(key=lambda row: (row.goal, "" if row.campaign is None else row.campaign.name))
    sums = []
    for goal in Goal:
        parts = [days for (_, part_goal), days in by_part.items() if part_goal is goal]
        if len(parts) > 1:
            sums.append(_measure(None, goal, [day for days in parts for day in days]))
    return sums + rows


def _measure(campaign: Campaign | None, goal: Goal, days: Sequence[rules.TrialDay]) -> CampaignLift:
    by_group: dict[str, list[rules.TrialDay]] = {}
    for day in days:
        by_group.setdefault(day.ad_group_id, []).append(day)
    pairs = [
        rules.TrialArms(
            _arm_of(goal, [day for day in own if day.trial > 0]),
            _arm_of(goal, [day for day in own if day.trial < 0]),
        )
        for own in by_group.values()
    ]
    learned = _arm_of(goal, [day for day in days if day.trial > 0])
    random = _arm_of(goal, [day for day in days if day.trial < 0])
    return CampaignLift(campaign, goal, learned, random, rules.measure_lift(pairs))


def _arm_of(goal: Goal, days: Sequence[rules.TrialDay]) -> rules.Arm:
    """Sum the days of one arm, with conversions and views by bucket of viewers (see `rules.trial_of`)."""
    conversions, views = [0] * rules.BUCKETS, [0] * rules.BUCKETS
    for day in days:
        bucket = abs(day.trial) - 1
        conversions[bucket] += day.leads if goal is Goal.LEAD else day.conversations
        views[bucket] += day.views
    spent = sum(day.charged_micros for day in days)
    return rules.Arm(sum(views), spent, sum(conversions), tuple(zip(conversions, views, strict=True)))


REFRESHED: Final = timedelta(hours=20)
"""A lookalike is computed again each night."""
EMPTY_RETRY: Final = timedelta(hours=1)
"""An empty lookalike is computed again after this time."""
MOST_DECISIONS: Final = 200_000
"""The viewers with consent come from this many of the latest decisions."""
MOST_VIEWERS: Final = 50_000


class LookalikeFinder:
    """Computes due lookalikes, one ad account at a time."""

    def __init__(self) -> None:
        self._due: Iterator[list[Audience]] | None = None
        self._writes: Iterator[Keep] = iter(())

    def start_over(self) -> None:
        """Begin a round."""
        self._due = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Return the next write of members, None at the end; compute the next ad account when needed."""
        if (write := next(self._writes, None)) is not None:
            return write
        if self._due is None:
            accounts: dict[tuple[str, str], list[Audience]] = {}
            for audience in list_due_lookalikes(tx, tx.now - REFRESHED, tx.now - EMPTY_RETRY):
                accounts.setdefault((audience.business_id, audience.ad_account_id), []).append(audience)
            self._due = iter(accounts.values())
        audiences = next(self._due, None)
        if audiences is None:
            return None
        found_at = tx.now
        self._writes = chain.from_iterable(
            list_lookalike_writes(
                audience,
                [UUID(viewer).bytes for viewer in match.viewers],
                Lookalike(
                    audience.id, audience.business_id, found_at,
                    match.known, match.lift, match.low, match.high,
                ),
            )
            for audience, match in find_lookalikes(tx, audiences)
        )  # fmt: skip
        return next(self._writes)


def find_lookalikes(tx: Tx, audiences: Sequence[Audience]) -> list[tuple[Audience, rules.LookalikeMatch]]:
    """Choose the members of lookalikes of one ad account."""
    business_id, account_id = audiences[0].business_id, audiences[0].ad_account_id
    learning = load_learning(tx, business_id)
    viewers = list_known_viewers(tx, business_id) if learning.version else {}
    market = learning.marketplace.market
    groups = list({
        live.ad_group.id: live.ad_group
        for live in load_live_nodes(tx, business_id).live
        if live.ad_group.ad_account_id == account_id
    }.values())  # fmt: skip
    scores_of: dict[int, list[float]] = {}
    matches = []
    for audience in audiences:
        targeting = (
            [group for group in groups if str(audience.number) in group.audience_ids]
            or [group for group in groups if group.goal is Goal.LEAD]
            or groups
        )
        scores = dict.fromkeys(viewers, 0.0)
        for group in targeting:
            if group.number not in scores_of:
                line = RankLine(market.now, "", business_id, str(group.number), list(viewers.values()))
                # features that the learner cannot use are ignored
                scores_of[group.number] = rank_candidates(market, line, lambda _fault: None).scores
            for viewer, score in zip(viewers, scores_of[group.number], strict=True):
                scores[viewer] += score / len(targeting)
        spec = msgspec.json.decode(audience.spec, type=LookalikeSpec)
        viewer_filter = rules.LookalikeFilter(spec)
        left_out = frozenset() if spec.include_source else list_sources(tx, audience)
        able = {
            viewer: scores[viewer]
            for viewer, last in viewers.items()
            if viewer_filter.takes(last.country, str((last.features or {}).get(rules.DEVICE, "")))
        }
        leads = sum(
            market.groups.groups[market.groups.by_id[str(group.number)]].leads
            for group in targeting
            if str(group.number) in market.groups.by_id
        )
        matches.append((audience, rules.choose_lookalikes(able, spec.audience_size, left_out, leads)))
    return matches


def list_known_viewers(tx: Tx, business_id: str) -> dict[str, RankCandidate]:
    """Return viewers with consent by pseudonym, with the features of their last request."""
    known_viewers: dict[str, RankCandidate] = {}
    before = None
    for _ in range(MOST_DECISIONS // AT_ONCE):
        latest = store.list_decisions(tx, business_id, AT_ONCE, before)
        for entry in latest:
            record = read_record(entry.body)
            if record.viewer != NOBODY and record.viewer not in known_viewers:
                known_viewers[record.viewer] = RankCandidate(record.viewer, record.country, record.features)
        if len(latest) < AT_ONCE or len(known_viewers) >= MOST_VIEWERS:
            break
        before = latest[-1].seq
    return known_viewers


def list_sources(tx: Tx, audience: Audience) -> frozenset[str]:
    """Return the viewers in the source audience of a lookalike, as far as views and clicks identify them.

    A list of contact details yields no viewers, because views do not identify its customers.
    """
    number = source_number(audience)
    source = None if number is None else find_audience(tx, audience.business_id, number=number)
    if source is None or source.kind is not AudienceKind.RULE:
        return frozenset()
    nonces: set[int] = set()
    persons = list_converted_persons(tx, audience.business_id, conversion_of(source))
    for chunk in batched(sorted(persons), AT_ONCE):
        nonces |= store.list_nonces_of_persons(tx, audience.business_id, chunk)
    decisions = store.list_decisions_of(tx, audience.business_id, nonces)
    return frozenset(read_record(decision.body).viewer for decision in decisions) - {NOBODY}
