"""History of the demo world: days of traffic, played in event time on what the server does for each request.

Theory. Time goes on in steps of ten minutes, and the clock stands at the end of the step. In one transaction
the newest model decides all requests of the step; views, clicks and messages are stored as the endpoints
store them. Then the worker's own functions settle messages, hand out events and train the model. So the
result depends on the seed and the start alone, however fast the machine is.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import Spent
from contatto.channels.connectors.webchat import WebchatDelivery
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import CONNECTORS
from contatto.delivery import rules as delivery_rules
from contatto.delivery import store as delivery_store
from contatto.delivery.actions.ledger import (
    LoggedDecision,
    charge_impressions,
    entry_of,
    make_entries,
    write_log,
)
from contatto.delivery.actions.serving import load_replica, load_snapshot, seed_of
from contatto.delivery.actions.training import AT_ONCE, Trainer, learn_entries, learn_entry
from contatto.delivery.store import find_stream, list_states
from contatto.forms.model import Submission
from contatto.inbox.actions.forms import ChatVisitor, HandedIn, take_form
from contatto.inbox.actions.incoming import conversation_id_of
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import note_conversation_read
from contatto.inbox.model import Message
from contatto.inbox.store.conversations import APPEND_RECEIPT, receipt_row
from contatto.kit.background import Batch, Installation, PeriodicReadJob
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Parts, Tx, row_of
from contatto.kit.ids import named_id, number_at, seeded_ids
from contatto.kit.outbox import Drain
from contatto.kit.values import micros
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.learning.columns import DAY_US, G_MULTIPLIER
from contatto.learning.marketplace import AuctionRequest, Replica
from contatto.learning.model import NOBODY, Entry, EntryKind, Phase, Record
from contatto.measurement import rules
from contatto.measurement.actions import ChargePort, record_taps, record_views, stamp_ticket
from contatto.measurement.model import Goal, Impression, MeasuredAd, Tap, TicketKind, TrackingTicket
from contatto.measurement.store import list_measured_ads
from contatto.reports.actions.overview import load_overview
from contatto.reports.actions.reports import DayCounter
from contatto.reports.rules.queries import OverviewQuery, Period
from contatto.simulator.traffic import build_ad_request, opened_from_ad, text_message, thread_of
from contatto.simulator.world import (
    TIMEZONE,
    AdMoment,
    DemoWorld,
    PlannedVisitor,
    build_world,
    invent_logins,
    plan_form_entry,
)
from contatto.ui.render import VISITOR_KEY, new_visitor, public_id

STEP_S: Final = 600.0
PUBLISH_S: Final = 3_600.0
_GROWTH: Final = 0.1
"""The first models are published sooner: each after a tenth of the time that there is to learn from."""
_ROUND_S: Final = 6 * 3_600.0
"""The desk works through its leads every six hours."""
_NEXT_STATUSES: Final = {
    "raw": (("contacted", 6), ("unqualified", 2), ("qualified", 1)),
    "contacted": (("qualified", 5), ("unqualified", 3)),
    "qualified": (("converted", 4), ("unqualified", 1)),
}
"""From a status to those that the desk gives next, with weights."""
_DESK_SHARE: Final = 0.3
_DESK_LEADS: Final = 100
_LOOK_US: Final = 1_000_000
_READ_AFTER: Final = timedelta(minutes=5)

type ShowProgress = Callable[[float], None]
"""Takes the share of the history that is played."""
type _Event = tuple[datetime, bytes | Callable[[Tx], object]]
"""Part of a chat: the body that a platform delivers, or what the business does itself."""


@dataclass(slots=True)
class _Chat:
    account: ChannelAccount
    events: deque[_Event]

    def is_due(self, until: datetime) -> bool:
        return bool(self.events) and self.events[0][0] <= until


@dataclass(frozen=True, slots=True)
class HistoryStage:
    """Installation on which a history is played: its storage, the clock of it, and the work of its worker."""

    db: Database
    clock: FixedClock
    installation: Installation


class History:
    """Traffic of a world; people count their time from where the clock stands."""

    def __init__(self, stage: HistoryStage, world: DemoWorld, people: Sequence[PlannedVisitor]) -> None:
        self._db, self._clock, installation = stage.db, stage.clock, stage.installation
        self._world, self._starts_at = world, stage.clock.moment
        self._business_id = world.business_id
        self._trial_share = installation.settings.trial_share
        self._settle: Batch = installation.queued_work(1)[0].run_batch
        self._drain = Drain(installation.after)
        self._trainer = Trainer(installation.settings.decision_log_days, weigh_us=DAY_US)
        looks = [(look.at_s, number, look) for number, visitor in enumerate(people) for look in visitor.looks]
        self._looks = deque(sorted(looks, key=itemgetter(0, 1)))
        self._people = people
        self.tapped: set[int] = set()
        self._replica = Replica(seed_of(self._business_id))
        self._chats: list[_Chat] = []
        self._decisions = itertools.count(1)
        self._rng = random.Random(0)  # the desk's choice of leads

    async def play(self, until: datetime, show: ShowProgress = lambda _: None) -> None:
        """Play up to a moment, and bring models and reports up to it."""
        span_s = (until - self._starts_at).total_seconds()
        end_s, published_s, round_s = 0.0, 0.0, _ROUND_S
        while end_s < span_s:
            end_s = min(end_s + STEP_S, span_s)
            self._clock.moment = self._at(end_s)
            has_looks = bool(self._looks) and self._looks[0][0] < end_s
            if has_looks or any(chat.is_due(self._clock.moment) for chat in self._chats):
                await self._db.write(partial(self._play_step, end_s=end_s))
            if end_s >= round_s:
                await self._db.write(self._work_through_leads)
                round_s += _ROUND_S
            if end_s - published_s >= min(end_s * _GROWTH, PUBLISH_S) or end_s == span_s:
                published_s = end_s
                await self._drain.run_all(self._db)
                is_behind = True
                while is_behind:  # store the learner's state, and publish a model
                    self._trainer.start_over()
                    keep = await self._db.read(self._trainer.read_next)
                    if keep is not None:
                        await self._db.write(keep)
                    stream = await self._db.read(lambda tx: find_stream(tx, self._business_id))
                    is_behind = stream is not None and stream.trained_seq < stream.last_seq
            show(end_s / span_s)
        counter = DayCounter()
        await PeriodicReadJob(0.0, counter.start_over, counter.read_next).run(self._db)

    def _at(self, at_s: float) -> datetime:
        return self._starts_at + timedelta(seconds=at_s)

    def _play_step(self, tx: Tx, end_s: float) -> None:
        self._serve(tx, end_s)
        due = [chat for chat in self._chats if chat.is_due(tx.now)]
        while due:
            bodies = []
            for chat in due:
                while chat.is_due(tx.now) and isinstance(body := chat.events[0][1], bytes):
                    bodies.append((chat.events.popleft()[0], chat.account, body))
            # Store what platforms deliver, in order of time, and settle it.
            rows = []
            for at, account, raw_body in sorted(bodies, key=itemgetter(0)):
                connector = CONNECTORS[account.platform]
                rows.append(receipt_row(tx.vault, self._business_id, connector, raw_body, at))
            if rows:
                tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], rows)
                while self._settle(tx):
                    pass
            for chat in due:
                while chat.is_due(tx.now) and not isinstance(act := chat.events[0][1], bytes):
                    act(replace(tx, now=chat.events.popleft()[0]))
            due = [chat for chat in due if chat.is_due(tx.now)]
        self._chats = [chat for chat in self._chats if chat.events]

    def _serve(self, tx: Tx, end_s: float) -> None:
        """Decide all requests of a step, and record their views and clicks."""
        snapshot = load_snapshot(tx, self._business_id)
        if snapshot.version != self._replica.version:
            self._replica = load_replica(tx, self._business_id) or self._replica
        self._replica.set_live(snapshot.lines)
        log, ads = _Log(tx, self._business_id, self._trainer), list_measured_ads(tx, self._business_id)
        bidders = delivery_rules.gather_bidders(snapshot.candidates)
        by_number = {candidate.live.ad.number: candidate for candidate in snapshot.candidates}
        groups = {candidate.ad_group.id: candidate.ad_group for candidate in snapshot.candidates}
        spent = delivery_store.list_spent(
            tx, self._business_id, list(groups), rules.local_day(micros(tx.now), TIMEZONE)
        )
        budgets = {
            group_id: delivery_rules.budget_left(group, spent.get(group_id, Spent()))
            for group_id, group in groups.items()
        }
        views, taps = list[Impression](), list[Tap]()
        while self._looks and self._looks[0][0] < end_s:
            at_s, number, look = self._looks.popleft()
            if number in self.tapped:
                continue
            request = build_ad_request(self._world, self._people[number], look)
            at, ts = self._at(at_s), micros(self._at(at_s))
            self._replica.set_multipliers(log.multipliers_at(ts))
            viewer, trial = NOBODY, 0  # the trial group of a person follows from the seed
            if request.has_consent:
                viewer = tx.vault.named_id(self._business_id, f"delivery:{request.viewer_id}")
                trial = delivery_rules.trial_of(request.viewer_id, self._trial_share)
            able, available, left_out = list[int](), dict[int, float](), dict[int, str]()
            for bidder in bidders:
                fits = delivery_rules.compare_terms(bidder.candidate, request)
                hurdle = delivery_rules.find_hurdle(bidder.candidate, fits, at, lambda _: frozenset(), {})
                if hurdle is None:
                    able += bidder.ads
                    available[bidder.ad_group_number] = float(budgets[bidder.ad_group_id] or 0)
                else:
                    left_out[bidder.ad_group_number] = hurdle.value
            features, reserve = delivery_rules.features_of(request), delivery_rules.RESERVE_MICROS
            question = AuctionRequest(
                number_at(ts // 1_000, next(self._decisions)), ts, viewer, request.country, features,
                max(request.floor_micros, reserve), able, available, left_out, trial,
            )  # fmt: skip
            record = self._replica.decide(question)
            log.put_decision(record)
            if not record.ad:
                continue
            ad, group_id = by_number[record.ad].live.ad, by_number[record.ad].ad_group.id
            budgets[group_id] = max(0, (budgets[group_id] or 0) - record.price_micros // 1_000)
            view, tap = self._follow(tx, record, ads[ad.id], number, look)
            views.append(view)
            taps += tap
            for impression in (view, *(one.impression for one in tap)):
                log.put(entry_of(impression.touch, impression.nonce))
        log.write()
        charge = partial(charge_impressions, append=lambda *_: None)  # the log has them, in order of time
        unlogged = replace(tx, ports=Parts(ChargePort(charge=charge, note_click=lambda *_: None)))
        if views:
            record_views(unlogged, views)
        if taps:
            record_taps(unlogged, taps)

    def _follow(
        self, tx: Tx, record: Record, ad: MeasuredAd, number: int, look: AdMoment
    ) -> tuple[Impression, list[Tap]]:
        """Return the view of an ad, and its tap where our own link counts it; with a tap, plan the chat."""
        visitor = self._people[number]
        ticket = TrackingTicket(
            TicketKind.VIEW, self._business_id, ad.ad_id, record.nonce, visitor.viewer_id,
            record.price_micros // 1_000, visitor.country, record.placement, record.trial,
        )  # fmt: skip
        account = self._world.accounts[visitor.platform]
        viewer = rules.viewer_of(tx.vault.named_id, ad, ticket)
        view = stamp_ticket(ad, ticket, viewer, record.ts + _LOOK_US)
        impression = rules.impression_of(view, ticket)
        appeal = self._world.appeal_of(str(ad.ad_number))
        if not visitor.taps(look, appeal):
            return impression, []
        self.tapped.add(number)
        at = self._at(look.at_s) + timedelta(seconds=visitor.tap_after_s)
        lines, taps = visitor.lines_after(appeal), list[Tap]()
        if visitor.platform is Platform.TIKTOK:
            thread, names = thread_of(self._world, visitor), (str(ad.ad_number), ad.ad_name)
            conversation_id = conversation_id_of(account, thread.conversation_id)
            events = deque[_Event]()
            events.append(
                (at, opened_from_ad(thread, self._world.advertiser_id, *names, micros(at) // 1_000))
            )
            for place, line in enumerate(lines):
                at += timedelta(seconds=line.after_s)
                message_id, from_person = f"{visitor.viewer_id}.{place}", not line.from_business
                at_ms = micros(at) // 1_000
                body = text_message(thread, message_id, line.text, at_ms, from_person=from_person)
                events.append((at, body))
        else:
            person = public_id(new_visitor(), account.id, tx.vault.derivation_key(VISITOR_KEY))
            conversation_id = conversation_id_of(account, person)
            events, form_entry = deque[_Event](), plan_form_entry(visitor, lines)
            tapped_at = at
            for place, line in enumerate(lines):
                at += timedelta(seconds=line.after_s)
                if line.from_business:
                    events.append((at, partial(self._reply, conversation_id, line.text)))
                    continue
                name = f"{visitor.viewer_id}-{place}"
                delivery = WebchatDelivery(account.id, person, name, line.text, micros(at))
                events.append((at, msgspec.json.encode(delivery)))
                if form_entry and line.contact:
                    sent = Submission(
                        f"form-{visitor.viewer_id}", visitor.language, form_entry.answers, form_entry.consents
                    )
                    form = HandedIn(
                        self._business_id, int(self._world.page_id), conversation_id, sent,
                        ChatVisitor(account, person, ""),
                    )  # fmt: skip
                    events.append((at, partial(take_form, handed=form)))
                    form_entry = None
            click = replace(ticket, kind=TicketKind.CLICK, cost_micros=0)
            touch = stamp_ticket(ad, click, tx.vault.named_id(account.id, person), micros(tapped_at))
            taps.append(Tap(rules.impression_of(touch, click), viewer))
        if lines:
            read = partial(
                note_conversation_read, business_id=self._business_id, conversation_id=conversation_id
            )
            events.append((events[-1][0] + _READ_AFTER, read))
        self._chats.append(_Chat(account, events))
        return impression, taps

    def _reply(self, conversation_id: str, text: str, tx: Tx) -> None:
        reply_id = named_id(conversation_id, f"reply {micros(tx.now)}")
        message = Message.of_business(reply_id, conversation_id, text, tx.now, "Owner")
        send_reply(tx, self._business_id, conversation_id, message)

    def _work_through_leads(self, tx: Tx) -> None:
        """Give a share of the leads of each status their next one."""
        for status, choices in reversed(_NEXT_STATUSES.items()):
            current = LeadStatus(status)
            words, weights = zip(*choices, strict=True)
            for lead in list_leads(tx, self._business_id, LeadFilter(statuses=(current,)), limit=_DESK_LEADS):
                if self._rng.random() < _DESK_SHARE:
                    new = LeadStatus(self._rng.choices(words, weights)[0])
                    change_lead_status(tx, self._business_id, lead.id, current, new, "Owner")


@dataclass(frozen=True, slots=True)
class GoalResult:
    """Results of the ad groups of one goal, as the report counts them, and how far delivery has learned."""

    goal: Goal
    views: int
    chats: int
    leads: int
    spend_micros: int
    currency: str
    predicted_leads: float
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class MadeHistory:
    """A world with its history; ``staying`` are people who tapped no ad."""

    world: DemoWorld
    results: list[GoalResult]
    staying: list[PlannedVisitor]


def make_history(
    stage: HistoryStage, seed: int, people: Sequence[PlannedVisitor], until: datetime,
    show: ShowProgress = lambda _: None,
) -> MadeHistory:  # fmt: skip
    """Make a world in an empty installation, and play its history; the same seed gives the same one.

    The clock of the stage stands at the beginning, from which people count their time. The seed makes ids;
    secrets are random.
    """
    db, clock = stage.db, stage.clock
    logins, signer = invent_logins(), db.vault.signer(rules.TRACKING_KEY)
    with seeded_ids(seed, micros(clock.moment) // 1_000):
        world = db.write_now(lambda tx: build_world(tx, logins, signer))
        history = History(stage, world, people)
        asyncio.run(history.play(until, show))
    results = db.read_now(lambda tx: load_results(tx, world))
    staying = [visitor for number, visitor in enumerate(people) if number not in history.tapped]
    return MadeHistory(world, results, staying)


def load_results(tx: Tx, world: DemoWorld) -> list[GoalResult]:
    """Read the results of each goal so far."""
    (account,) = list_ad_accounts(tx, BusinessId(world.business_id))
    states = {state.number: state for state in list_states(tx, world.business_id)}
    today = tx.now.astimezone(ZoneInfo(account.timezone)).date()
    results = []
    for part in load_overview(tx, account, OverviewQuery(period=Period.LAST_30), today).by_goal:
        groups = {int(ad.adgroup_id) for ad in world.ads if ad.goal is part.goal}
        learned = [states[number] for number in sorted(groups) if number in states]
        counts = part.figures.counts
        results.append(
            GoalResult(
                part.goal,
                counts.impressions,
                counts.conversations,
                counts.leads,
                counts.spend_micros,
                account.currency,
                sum(state.predicted_leads for state in learned),
                tuple(state.phase for state in learned),
            )
        )
    return results


class _Log:
    """Entries of the log of a step, in order of time; the learner takes each, so that pacing is current."""

    def __init__(self, tx: Tx, business_id: str, trainer: Trainer) -> None:
        stream = find_stream(tx, business_id)
        self._tx, self._business_id = tx, business_id
        self._learning = trainer.load(tx, business_id, stream.trained_seq if stream else 0)
        while learn_entries(tx, self._learning, AT_ONCE):
            pass
        self._rows: list[delivery_rules.NewEntry] = []
        self._later: list[tuple[int, int, delivery_rules.NewEntry]] = []
        self._count = 0
        self._lines: set[int] = set()

    def put(self, row: delivery_rules.NewEntry) -> None:
        """Put an entry that comes later than those so far."""
        self._count += 1
        heapq.heappush(self._later, (row.ts, self._count, row))

    def put_decision(self, record: Record) -> None:
        for row in make_entries(self._tx, self._business_id, [LoggedDecision(record, None)]):
            if row.kind is not EntryKind.LINES or row.nonce not in self._lines:
                self._take(row)
        self._lines.add(record.lines)

    def multipliers_at(self, ts: int) -> dict[int, float]:
        """Learn what happened before a moment, and return what a conversion is worth to each ad group."""
        while self._later and self._later[0][0] <= ts:
            self._take(heapq.heappop(self._later)[2])
        groups = self._learning.marketplace.market.groups
        return {
            int(group.line.adgroup_id): float(groups.table[group.number, G_MULTIPLIER])
            for group in groups.groups
        }

    def write(self) -> None:
        while self._later:
            self._take(heapq.heappop(self._later)[2])
        if self._rows:
            write_log(self._tx, self._business_id, self._rows)

    def _take(self, row: delivery_rules.NewEntry) -> None:
        self._rows.append(row)
        learning = self._learning
        learn_entry(learning, Entry(self._business_id, learning.through + 1, **row_of(row)))
