"""Budget leases, charges, frequency caps, and the log of decisions and outcomes."""

import asyncio
import math
import zlib
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from itertools import batched, groupby, takewhile
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from contatto.accounts.model import AdAccount
from contatto.ads.model import AdGroup, BudgetMode, Campaign, FrequencyCap, Spent
from contatto.ads.rules.settings import add_spent
from contatto.ads.store import list_ad_group_ids, load_nodes
from contatto.audiences.actions import remove_fingerprints
from contatto.delivery import rules, store
from contatto.delivery.engines.files import (
    check_decisions,
    forget_in_files,
    path_of,
    rewritten_path_of,
    row_of_entry,
    take_new_files,
    write_decisions,
)
from contatto.inbox.model import ConversationMarkedSpam, ConversationStarted
from contatto.kit.background import Job, MaintenanceJob
from contatto.kit.background import Record as JobRecord
from contatto.kit.db.database import Database, acting
from contatto.kit.db.statements import add_counts, insert_all, insert_new, write_rows
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.values import from_micros, micros
from contatto.leads.model import ErasedPeople, LeadCaptured, LeadStatus, LeadStatusChanged, Origin
from contatto.learning.columns import DAY_US
from contatto.learning.model import NOBODY, AdGroupLine, AdLine, Entry, EntryKind, OutcomeBody, Record
from contatto.measurement.model import Attribution, ConversionKind, Impression, Touch, TouchKind
from contatto.measurement.rules import local_day, natural_number
from contatto.measurement.store import CREDITED, list_known_touches, list_view_times, list_viewers_of
from contatto.operators.actions import charge_balances
from contatto.operators.model import BalanceKey, PlacedDay
from contatto.operators.store import (
    list_limited_balances,
    list_owners_of_placements,
    list_placed_days_of_account,
)

LEASE_US: Final = 15_000_000
"""An ad server may promise its lease for this long, unless it renews it."""
PROMISE_US: Final = 900_000_000
"""A promise reserves its budget for this long while the view is missing."""
LEAST_VIEWS: Final = 50
"""Each lease covers at least this many of the cheapest views, where the budget allows it."""
AHEAD: Final = 4
"""A lease is this many times as large as the promises since the last renewal."""


@dataclass(frozen=True, slots=True)
class LeaseUse:
    """Amount that an ad server promised since its last lease, and the price of the last view."""

    micros: int = 0
    view_micros: int = rules.LEAST_VIEW_MICROS


def renew_leases(
    tx: Tx,
    business_id: str,
    server_id: str,
    candidates: Iterable[rules.Candidate],
    used: Mapping[str, LeaseUse],
) -> dict[str, float]:
    """Lease a part of every budget of a business to an ad server, for ``LEASE_US``.

    ``used`` are its promises since the last renewal, by ad group. The result is the micros that it may
    promise, by ad group; infinite without a limit.
    """
    tx.hold_key("delivery grants", business_id)
    now_us = micros(tx.now)
    for table in (store.promises, store.grants):
        is_expired = table.c.business_id == business_id, table.c.expires_at <= now_us
        tx.execute(sa.delete(table).where(*is_expired))
    by_id = {candidate.ad_group.id: candidate for candidate in candidates}
    days = {zone: local_day(now_us, zone) for zone in {candidate.timezone for candidate in by_id.values()}}
    spent: dict[str, Spent] = {}
    for zone, day in days.items():
        ids_in_zone = [group_id for group_id, candidate in by_id.items() if candidate.timezone == zone]
        spent |= store.list_spent(tx, business_id, ids_in_zone, day)
    # an ad group that would win instead must afford the dearest view of its ad account
    dearest: dict[str, int] = {}
    for group_id, candidate in by_id.items():
        account = candidate.ad_group.ad_account_id
        cost = used[group_id].view_micros if group_id in used else rules.LEAST_VIEW_MICROS
        dearest[account] = max(dearest.get(account, rules.LEAST_VIEW_MICROS), cost)
    requests = []
    for group_id, candidate in sorted(by_id.items()):
        ad_group = candidate.ad_group
        least = max(
            rules.LEAST_VIEW_MICROS,
            min(dearest[ad_group.ad_account_id], LEAST_VIEWS * rules.LEAST_VIEW_MICROS),
        )
        requested = max(AHEAD * used.get(group_id, LeaseUse()).micros, LEAST_VIEWS * least)
        budget = rules.budget_left(ad_group, spent.get(group_id, Spent()))
        payers = (ad_group.ad_account_id, ad_group.campaign_id)
        requests.append(rules.BudgetRequest(ad_group.id, payers, budget, requested))
    committed, other_servers = store.list_committed(tx, business_id, server_id)
    available = _list_available(tx, business_id, server_id, by_id.values(), days, committed)
    shares = rules.share_budgets(requests, committed, available, other_servers)
    bounded = {
        request.ad_group_id
        for request in requests
        if request.budget_micros is not None or any(payer in available for payer in request.payers)
    }
    rows = [
        rules.LeaseRow(
            business_id,
            group_id,
            server_id,
            by_id[group_id].ad_group.ad_account_id,
            shares[group_id],
            now_us + LEASE_US,
        )
        for group_id in sorted(bounded)
    ]
    tx.delete(store.grants, business_id, server_id=server_id)
    insert_all(tx, store.grants, [row_of(row) for row in rows])
    return {group_id: shares[group_id] if group_id in bounded else math.inf for group_id in by_id}


def _list_available(
    tx: Tx, business_id: str, server_id: str, candidates: Collection[rules.Candidate],
    days: Mapping[str, str], committed: Mapping[str, int],
) -> dict[str, int]:  # fmt: skip
    """Return the budget that may still be leased, by limited ad account and by campaign with a budget.

    ``committed`` are leases of other ad servers and promises, by ad group; paused ad groups count too.
    """
    available: dict[str, int] = {}
    accounts = {candidate.ad_group.ad_account_id for candidate in candidates}
    balances = list_limited_balances(tx, business_id, accounts)
    if own := [balance for balance in balances if not balance.operator_id]:
        of_accounts = store.list_committed_of_accounts(tx, business_id, server_id)
        for balance in own:
            reserved = of_accounts.get(balance.ad_account_id, 0)
            available[balance.ad_account_id] = max(balance.chargeable_micros - reserved, 0)
    campaigns = {
        candidate.live.campaign.id: (candidate.live.campaign, candidate.timezone)
        for candidate in candidates
        if rules.has_budget(candidate.live.campaign)
    }
    spent = load_campaign_spent(
        tx, business_id, {campaign_id: days[timezone] for campaign_id, (_, timezone) in campaigns.items()}
    )
    for campaign_id, (campaign, _) in campaigns.items():
        ad_group_ids, charges = spent[campaign_id]
        reserved = sum(committed.get(ad_group_id, 0) for ad_group_id in ad_group_ids)
        available[campaign_id] = max((rules.budget_left(campaign, charges) or 0) - reserved, 0)
    return available


def load_campaign_spent(
    tx: Tx, business_id: str, day_of: Mapping[str, str]
) -> dict[str, tuple[Sequence[str], Spent]]:
    """Return by campaign the ids of all its ad groups, paused and deleted ones too, and their charges.

    ``day_of`` names for each campaign the day of the daily charges.
    """
    if not day_of:
        return {}
    ad_groups = list_ad_group_ids(tx, business_id, day_of)
    spent: dict[str, Spent] = {}
    for day in sorted(set(day_of.values())):
        ids_of_day = [
            group_id for campaign, ids in ad_groups.items() if day_of[campaign] == day for group_id in ids
        ]
        spent |= store.list_spent(tx, business_id, ids_of_day, day)
    return {
        campaign: (ids, add_spent([spent.get(group_id, Spent()) for group_id in ids]))
        for campaign, ids in ad_groups.items()
    }


_KINDS: Final = {TouchKind.VIEW: EntryKind.VIEW, TouchKind.CLICK: EntryKind.CLICK}


type Append = Callable[[Tx, str, Sequence[rules.NewEntry]], object]
"""Appends entries of a business to the log."""


def charge_impressions(
    tx: Tx, impressions: Sequence[Impression], append: Append = store.append_entries
) -> list[Touch]:
    """Charge views and clicks before they are stored; return each touch with its charge.

    A touch that is stored already keeps its charge. A lock on each ad account orders concurrent processes.
    ``append`` writes the touches to the log.
    """
    by_business: defaultdict[str, list[Impression]] = defaultdict(list)
    for impression in impressions:
        by_business[impression.touch.business_id].append(impression)
    charged: dict[int, Touch] = {}
    for business_id, group in sorted(by_business.items()):
        for account in sorted({impression.touch.ad_account_id for impression in group}):
            tx.hold_key("charges", account)
        known_touches = list_known_touches(
            tx, business_id, [impression.touch.touch_id for impression in group]
        )
        fresh = {
            impression.touch.touch_id: impression
            for impression in group
            if impression.touch.touch_id not in known_touches
        }
        if not fresh:
            continue
        placements = {impression.placement for impression in fresh.values() if impression.placement}
        owners = list_owners_of_placements(tx, placements) if placements else {}
        touches = _charge(tx, business_id, list(fresh.values()), owners)
        days: list[rules.ChargedDay] = []
        placed_days: list[PlacedDay] = []
        trial_days: list[rules.TrialDay] = []
        charges: defaultdict[BalanceKey, int] = defaultdict(int)
        for touch in touches:
            impression, place = fresh[touch.touch_id], (touch.ad_group_id, touch.day)
            is_view = touch.kind is TouchKind.VIEW
            counts = (int(is_view), int(not is_view), touch.cost_micros)
            account_id, operator_id = touch.ad_account_id, owners.get(impression.placement, "")
            days.append(rules.ChargedDay(business_id, *place, account_id, *counts))
            charges[operator_id, account_id] += touch.cost_micros
            if operator_id:
                placed = (operator_id, business_id, impression.placement, account_id)
                placed_days.append(PlacedDay(*placed, *place, *counts))
            if impression.trial:
                trial_days.append(rules.TrialDay(business_id, *place, impression.trial, *counts))
        add_counts(tx, store.charged_days, ("views", "clicks", "charged_micros"), map(row_of, days))
        charge_balances(tx, business_id, charges, placed_days)
        add_counts(tx, store.trials, store.COUNTS, map(row_of, trial_days))
        store.delete_promises(tx, business_id, {fresh[touch.touch_id].nonce for touch in touches})
        append(tx, business_id, [entry_of(touch, fresh[touch.touch_id].nonce) for touch in touches])
        charged |= {touch.touch_id: touch for touch in touches}
    return [charged.get(impression.touch.touch_id, impression.touch) for impression in impressions]


def _charge(
    tx: Tx, business_id: str, impressions: list[Impression], owners: Mapping[str, str]
) -> list[Touch]:
    """Limit the price of each impression to the rest of the budgets and the balance that pay for it."""
    priced = [impression.touch for impression in impressions if impression.touch.cost_micros]
    groups = load_nodes(tx, AdGroup, business_id, {touch.ad_group_id for touch in priced})
    campaign_of = {group.id: group.campaign_id for group in groups.values()}
    above = load_nodes(tx, Campaign, business_id, set(campaign_of.values()))
    campaigns = [campaign for campaign in above.values() if rules.has_budget(campaign)]
    nodes: list[AdGroup | Campaign] = [*groups.values(), *campaigns]
    # by operator and ad account for balances; by node and day, or "" for a total, for budgets
    remaining: dict[tuple[str, str], int] = {
        (balance.operator_id, balance.ad_account_id): balance.chargeable_micros
        for balance in list_limited_balances(tx, business_id, {touch.ad_account_id for touch in priced})
    }
    for day in sorted({touch.day for touch in priced}):
        spent = store.list_spent(tx, business_id, campaign_of.keys(), day)
        sums = load_campaign_spent(tx, business_id, {campaign.id: day for campaign in campaigns})
        spent |= {name: charges for name, (_, charges) in sums.items()}
        for node in nodes:
            rest = rules.budget_left(node, spent.get(node.id, Spent()), for_charge=True)
            if rest is not None:
                remaining[node.id, "" if node.budget_mode is BudgetMode.TOTAL else day] = rest
    charged: list[Touch] = []
    for impression in impressions:
        touch, amount = impression.touch, impression.touch.cost_micros
        if amount:
            operator_id = owners.get(impression.placement, "")
            campaign_id = campaign_of.get(touch.ad_group_id, "")
            if operator_id:  # operators charge only existing balances
                remaining.setdefault((operator_id, touch.ad_account_id), 0)
            payers = [
                (operator_id, touch.ad_account_id), (touch.ad_group_id, touch.day), (touch.ad_group_id, ""),
                (campaign_id, touch.day), (campaign_id, ""),
            ]  # fmt: skip
            limited = [payer for payer in payers if payer in remaining]
            amount = min([amount, *(remaining[payer] for payer in limited)])
            for payer in limited:
                remaining[payer] -= amount
        charged.append(replace(touch, cost_micros=amount))
    return charged


def entry_of(touch: Touch, nonce: int) -> rules.NewEntry:
    """Return the log entry of a view or a click of an impression."""
    return rules.NewEntry(_KINDS[touch.kind], touch.ts, nonce, touch.ad_id, touch.touch_id, touch.person_id)


def record_click(tx: Tx, touch: Touch) -> None:
    """Credit a click that a platform reported to the latest impression of the same person and ad."""
    log = store.log.c
    by_person = log.person_id == touch.person_id, log.ad_id == touch.ad_id, log.nonce != 0
    is_view = log.kind == EntryKind.VIEW
    views = store.list_log(tx, touch.business_id, *by_person, is_view, order=log.seq.desc(), limit=1)
    if views and views[0].ts <= touch.ts:
        entry = replace(entry_of(touch, views[0].nonce), ts=micros(tx.now))  # the log is ordered by arrival
        store.append_entries(tx, touch.business_id, [entry])


def list_own_days(tx: Tx, account: AdAccount) -> list[PlacedDay]:
    """List the charges of an ad account by ad group and day, without those in placements.

    Other balances pay operators, and have their own statements.
    """
    counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    own = store.list_charged_days(tx, account.business_id, account.id, "0000-00-00", "9999-99-99")
    for sign, days in ((1, own), (-1, list_placed_days_of_account(tx, account.business_id, account.id))):
        for day in days:
            sums = counts[day.ad_group_id, day.day]
            for place, count in enumerate((day.views, day.clicks, day.charged_micros)):
                sums[place] += sign * count
    return [
        PlacedDay("", account.business_id, "", account.id, *group_and_day, *sums)
        for group_and_day, sums in counts.items()
        if any(sums)
    ]


MOST_FULL: Final = 100_000
"""An ad server remembers at most this many viewers with a reached cap, for each business."""


@dataclass(frozen=True, slots=True)
class ViewClaim:
    """A view of a capped ad group that a decision is about to promise.

    ``viewer`` is the pseudonym for delivery; ``persons`` are the ids of the same viewer in touches.
    """

    nonce: int
    ad_group: AdGroup
    cap: FrequencyCap
    viewer: str
    persons: tuple[str, ...]


@dataclass(slots=True)
class Claims:
    """Claims of one decision: the claimed ad group, and those with a reached cap."""

    granted: int = 0
    refused: set[int] = field(default_factory=set)


def claim_view(tx: Tx, claim: ViewClaim) -> tuple[bool, int]:
    """Claim a view under a frequency cap, unless it is reached.

    Also return the time until which the cap is reached (microseconds), 0 if it is not.
    """
    group, ts = claim.ad_group, micros(tx.now)
    tx.hold_key("frequency", group.id, claim.viewer)
    # Claims are read before views, so a view that arrives in between counts twice and is never missed.
    place = {"business": group.business_id, "of_group": group.id, "of_viewer": claim.viewer}
    ends = list(tx.execute(store.CLAIMED, place | {"now": ts}).scalars())
    period = claim.cap.days * DAY_US
    views = list_view_times(tx, group.business_id, group.id, claim.persons, ts - period)
    ends += [at + period for at in views]
    is_granted = len(ends) < claim.cap.views
    if is_granted:
        until = ts + PROMISE_US
        ends.append(until)
        ids = (group.business_id, claim.nonce, group.id, group.ad_account_id)
        tx.save(store.promises, row_of(rules.Promise(*ids, 0, until, claim.viewer)))
    ends.sort()
    return is_granted, ends[len(ends) - claim.cap.views] if len(ends) >= claim.cap.views else 0


class FrequencyCaps:
    """Frequency caps of a business in one ad server.

    It remembers viewers with a reached cap, so that only an ad below its cap costs a claim.
    """

    def __init__(self, db: Database, business_id: str) -> None:
        self._db = db
        self._business_id = business_id
        self._full: OrderedDict[tuple[str, int], tuple[FrequencyCap, int]] = OrderedDict()

    def is_reached(self, viewer: str, ad_group: int, cap: FrequencyCap, ts: int) -> bool:
        """Report whether this process knows that a viewer has reached the cap of an ad group."""
        full_cap, until = self._full.get((viewer, ad_group), (cap, 0))
        return full_cap == cap and until > ts

    def give_back(self, viewer: str, ad_group: int) -> None:
        """Forget that a cap is reached, because its claim was returned."""
        self._full.pop((viewer, ad_group), None)

    async def claim(self, claim: ViewClaim) -> bool:
        """Claim a view; return False if the cap is reached."""
        with acting(self._business_id):
            is_granted, full_until = await self._db.write(lambda tx: claim_view(tx, claim))
        key = (claim.viewer, claim.ad_group.number)
        self._full.pop(key, None)
        if full_until:
            self._full[key] = (claim.cap, full_until)
            if len(self._full) > MOST_FULL:
                self._full.popitem(last=False)
        return is_granted


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_LINES: Final = msgspec.msgpack.Decoder(list[AdGroupLine | AdLine])
KEEP_LINES_US: Final = DAY_US
"""Entries of ad groups and ads are appended again after this time, because old entries are deleted."""


@dataclass(slots=True)
class LoggedDecision:
    """A decision with the promise for its view, and its encoded ``body`` when it is packed."""

    record: Record
    promise: rules.Promise | None
    body: bytes = b""


class Packer:
    """Packs one decision per turn of the idle event loop.

    If the writing thread packed all of them, both threads would compete for the interpreter, and requests of
    that time would wait several times.
    """

    def __init__(self) -> None:
        self._unpacked: deque[LoggedDecision] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will pack the next decision, if any."""

    def add(self, decision: LoggedDecision) -> None:
        """Queue a decision; a writer that is faster packs it."""
        self._unpacked.append(decision)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._pack_one)

    def _pack_one(self) -> None:
        try:
            while self._unpacked:
                decision = self._unpacked.popleft()
                if not decision.body:
                    decision.body = encode_record(decision.record)
                    break
        finally:
            if self._unpacked and self._loop is not None:
                self._loop.call_soon(self._pack_one)
            else:
                self._loop = None


def log_decisions(tx: Tx, business_id: str, decisions: Sequence[LoggedDecision]) -> None:
    """Append decisions to the log, and publish their promises to all ad servers.

    A view may arrive before its decision. The learner skipped it then, so it is appended again.
    """
    if not decisions:
        return
    rows = make_entries(tx, business_id, decisions)
    promises = [decision.promise for decision in decisions if decision.promise is not None]
    early = store.list_touches_of(tx, business_id, [promise.nonce for promise in promises])
    store.append_entries(tx, business_id, rows + early)
    viewed = {touch.nonce for touch in early}
    promises = [promise for promise in promises if promise.nonce not in viewed]
    insert_new(tx, store.promises, [row_of(promise) for promise in promises if not promise.viewer])
    # a promise with a viewer has a claim, which gets its amount
    amounts = [
        {"business": business_id, "of_nonce": promise.nonce, "amount": promise.micros}
        for promise in promises
        if promise.viewer
    ]
    write_rows(tx, store.CLAIMED_AMOUNT, amounts)


def make_entries(tx: Tx, business_id: str, decisions: Sequence[LoggedDecision]) -> list[rules.NewEntry]:
    """Make the log entries of decisions, after those of ad groups and ads that the log lacks."""
    records = [decision.record for decision in decisions]
    named = {record.lines: record for record in records if record.lines}
    rows = []
    if named:
        since = min(record.ts for record in named.values()) - KEEP_LINES_US
        stored = {line.nonce for line in store.list_lines(tx, business_id, named, since)}
        rows = [
            rules.NewEntry(EntryKind.LINES, record.ts, digest, body=_pack(record.added))
            for digest, record in named.items()
            if digest not in stored
        ]
    for decision, record in zip(decisions, records, strict=True):
        rows.append(rules.NewEntry(
            EntryKind.DECISION, record.ts, record.nonce, person_id=record.viewer or None,
            body=decision.body or encode_record(record),
        ))  # fmt: skip
    return rows


def write_log(tx: Tx, business_id: str, rows: Sequence[rules.NewEntry]) -> None:
    """Append the entries of a simulated history to the log, in the order of the rows."""
    store.append_entries(tx, business_id, rows)


def encode_record(record: Record) -> bytes:
    """Encode a decision as the body of an entry, without the ad groups and ads that it names."""
    return _pack(msgspec.structs.replace(record, added=[]) if record.lines else record)


def _pack(value: object) -> bytes:
    return zlib.compress(_ENCODER.encode(value), 1)


def read_record(body: bytes) -> Record:
    """Decode the decision of an entry, without the ad groups and ads that it names (`load_added`)."""
    return _DECODER.decode(zlib.decompress(body))


def read_lines(body: bytes) -> list[AdGroupLine | AdLine]:
    """Decode the ad groups and ads of an entry."""
    return _LINES.decode(zlib.decompress(body))


def load_added(tx: Tx, business_id: str, record: Record) -> bool:
    """Add the ad groups and ads that a decision names; return False if the log lacks them."""
    if record.lines:
        lines = store.list_lines(tx, business_id, [record.lines])
        record.added = read_lines(lines[0].body) if lines else []
    return bool(record.added) or not record.lines


_CHANGES: Final = {EntryKind.CONVERSATION: (1, 0), EntryKind.SPAM: (-1, 0), EntryKind.LEAD: (0, 1)}
"""Change of conversations and leads by kind of entry; a conversation that is spam is subtracted."""


_SOURCES: Final = {Origin.CHAT: "chat", Origin.FORM: "form", Origin.MANUAL: "marked"}
_QUALITY: Final = {
    LeadStatus.QUALIFIED: "qualified",
    LeadStatus.CONVERTED: "converted",
    LeadStatus.UNQUALIFIED: "unqualified",
}


type _Outcome = tuple[str, str, str]
"""Business, conversation or lead, and the source or quality of a lead."""


def learn_conversations(tx: Tx, events: Sequence[ConversationStarted]) -> None:
    """Append conversations that an ad earned to the log; a handler of the outbox."""
    outcomes = [(event.business_id, event.conversation_id, "") for event in events]
    _append(tx, EntryKind.CONVERSATION, outcomes)


def learn_leads(tx: Tx, events: Sequence[LeadCaptured]) -> None:
    """Append leads that an ad earned by the chat, by a form or by hand to the log; skip imported ones."""
    sources = [(event, _SOURCES.get(Origin(event.origin))) for event in events]
    _append(tx, EntryKind.LEAD, [(lead.business_id, lead.lead_id, word) for lead, word in sources if word])


def learn_qualities(tx: Tx, events: Sequence[LeadStatusChanged]) -> None:
    """Append the quality of leads that an ad earned to the log."""
    words = [(event, _QUALITY.get(LeadStatus(event.new))) for event in events]
    _append(tx, EntryKind.QUALITY, [(lead.business_id, lead.lead_id, word) for lead, word in words if word])


def learn_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """Append to the log that a conversation is spam, and subtract it from the counts."""
    _append(tx, EntryKind.SPAM, [(event.business_id, event.conversation_id, "")])


def _append(tx: Tx, kind: EntryKind, outcomes: Sequence[_Outcome]) -> None:
    """Append the outcomes that an impression earned, in their order, and count them."""
    is_of_lead = kind in (EntryKind.LEAD, EntryKind.QUALITY)
    conversion = ConversionKind.LEAD if is_of_lead else ConversionKind.CONVERSATION
    for business_id in dict.fromkeys(outcome[0] for outcome in outcomes):
        own = [(subject_id, word) for owner, subject_id, word in outcomes if owner == business_id]
        subjects = {"of": business_id, "subjects": {subject_id for subject_id, _ in own}}
        credited = {attribution.subject_id: attribution for attribution in CREDITED.list(tx, subjects)}
        touch_ids = {
            subject_id: credit.touch_id
            for subject_id, credit in credited.items()
            if credit.kind is conversion and credit.touch_id is not None
        }
        if not touch_ids:
            continue
        entries = store.list_log(tx, business_id, store.log.c.touch_id.in_(set(touch_ids.values())))
        touches = {entry.touch_id: entry for entry in entries}
        new: list[rules.NewEntry] = []
        credits: list[tuple[Attribution, Entry]] = []
        for subject_id, word in own:
            touch = touches.get(touch_ids.get(subject_id, 0))
            if touch is None or not touch.nonce:
                continue
            credit = credited[subject_id]
            has_time = kind in (EntryKind.CONVERSATION, EntryKind.LEAD)
            body = msgspec.msgpack.encode(OutcomeBody(word, credit.ts if has_time else 0))
            new.append(rules.NewEntry(kind, micros(tx.now), touch.nonce, touch.ad_id, body=body))
            credits.append((credit, touch))
        if new:
            store.append_entries(tx, business_id, new)
            _count(tx, business_id, kind, credits)


def _count(tx: Tx, business_id: str, kind: EntryKind, credits: Sequence[tuple[Attribution, Entry]]) -> None:
    """Count conversations and leads by day of the touch, in the trial and in placements of operators."""
    if kind not in _CHANGES:
        return
    conversations, leads = _CHANGES[kind]
    nonces = {entry.nonce for _, entry in credits}
    decisions = store.list_decisions_of(tx, business_id, nonces)
    records = {decision.nonce: read_record(decision.body) for decision in decisions}
    placements = {record.placement for record in records.values()} - {""}
    owners = list_owners_of_placements(tx, placements) if placements else {}
    placed_days: list[PlacedDay] = []
    trial_days: list[rules.TrialDay] = []
    for credit, entry in credits:
        record, group_id, day = records.get(entry.nonce), credit.ad_group_id, credit.day
        if record is None or not group_id or not day:
            continue
        counts = (0, 0, 0, conversations, leads)
        if record.trial:
            trial_days.append(rules.TrialDay(business_id, group_id, day, record.trial, *counts))
        if record.placement in owners:
            placed = (owners[record.placement], business_id, record.placement, credit.ad_account_id or "")
            placed_days.append(PlacedDay(*placed, group_id, day, *counts))
    add_counts(tx, store.trials, store.COUNTS, map(row_of, trial_days))
    charge_balances(tx, business_id, {}, placed_days)


_PLACE_FEATURES: Final = frozenset({f"{rules.OURS}placement", f"{rules.OURS}account"})
"""Features of the place; all others describe the viewer."""


def forget_viewers(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Erase persons from the log: their ids, pseudonyms and features.

    Persons are those who wrote, and their viewer ids at publishers. Views and clicks stay without a person;
    decisions keep prices and ads. Such a decision cannot be replayed, and the learner skips it. The next
    sealing erases the persons from files.
    """
    business_id = erased.business_id
    persons = set(erased.person_ids)
    for person_id in erased.person_ids:
        persons.update(list_viewers_of(tx, business_id, person_id))
    decisions = store.list_decisions_of(
        tx, business_id, store.list_nonces_of_persons(tx, business_id, persons)
    )
    pseudonyms = {read_record(decision.body).viewer for decision in decisions} - {NOBODY}
    seqs = {decision.seq for decision in decisions}
    log = store.log
    is_decision = log.c.person_id.in_(sorted(pseudonyms)), log.c.kind == EntryKind.DECISION
    by_pseudonym = store.list_log(tx, business_id, *is_decision)
    decisions += [decision for decision in by_pseudonym if decision.seq not in seqs]
    for decision in decisions:
        record = read_record(decision.body)
        place = {name: value for name, value in record.features.items() if name in _PLACE_FEATURES}
        erased_record = msgspec.structs.replace(record, viewer=NOBODY, features=place, history={}, shown=None)
        place_of_body = business_id, "delivery_log.body", str(decision.seq)
        body = tx.vault.seal_bytes(encode_record(erased_record), *place_of_body)
        tx.execute(sa.update(log).where(*rows_of(log, business_id, seq=decision.seq)).values(body=body))
    ids = sorted(persons | pseudonyms)
    tx.execute(sa.update(log).where(*rows_of(log, business_id, person_id=ids)).values(person_id=None))
    promises, is_named = store.promises, store.promises.c.viewer != sa.literal_column("''")
    of_viewers = rows_of(promises, business_id, viewer=sorted(pseudonyms))
    tx.execute(sa.update(promises).where(*of_viewers, is_named).values(viewer=""))
    request = {"business_id": business_id, "forgotten_at": tx.now}
    insert_new(tx, store.forgotten, [request | {"person_id": person} for person in ids])
    remove_fingerprints(tx, business_id, {UUID(viewer).bytes for viewer in pseudonyms})
    return set()  # the log has no contact values


AT_ONCE: Final = 2_000
"""Entries that sealing reads with one query."""
_WITH_WORD: Final = (EntryKind.CONVERSATION, EntryKind.LEAD, EntryKind.SPAM, EntryKind.QUALITY)
"""Kinds of entries with an `OutcomeBody`."""
_SEALING: Final = natural_number("sealing days of decisions")


def decision_sealing_job(folder: Path, age_days: int, keep_days: int) -> MaintenanceJob:
    """Return the job of the decision files: write ended days, erase persons, delete old files."""

    def list_jobs(tx: Tx) -> list[Job]:
        listed = store.list_decision_files(tx)
        jobs: list[Job] = [
            partial(_adopt, file=replace(file, folder=str(folder)))
            for file in listed
            if not path_of(file).exists() and (folder / file.name).exists()
        ]
        if any(rewritten_path_of(file).exists() for file in listed):
            jobs.append(_take_new)
        oldest = (tx.now - timedelta(days=keep_days)).date().isoformat()
        jobs += [partial(_drop, file=file) for file in listed if file.day < oldest]
        businesses = sa.select(store.forgotten.c.business_id).distinct().order_by("business_id")
        for business_id in list(tx.execute(businesses).scalars()):
            jobs += [partial(_forget, business_id=business_id), _take_new]
        last_day = (tx.now - timedelta(days=age_days)).date()
        streams = store.streams
        is_unsealed = streams.c.last_seq > streams.c.sealed_seq
        for stream in tx.list(
            rules.Stream, sa.select(streams).where(is_unsealed).order_by(streams.c.business_id)
        ):
            unsealed = store.list_entries(tx, stream.business_id, stream.sealed_seq, 1)
            if unsealed and _day_of(unsealed[0]) <= last_day:
                jobs.append(partial(_seal, folder=folder, stream=stream, last_day=last_day))
        return jobs

    return MaintenanceJob(folder, _SEALING, list_jobs)


def _day_of(entry: Entry) -> date:
    return from_micros(entry.arrived_ts or entry.ts).date()


def _adopt(_tx: Tx, file: rules.DecisionFile) -> JobRecord:
    """Record the new place of a moved file; raise OSError if it changed."""
    check_decisions(file)
    return partial(store.record_decision_file, file=file)


def _take_new(tx: Tx) -> None:
    """Replace files by their rewritten versions, once these are recorded."""
    take_new_files(store.list_decision_files(tx))


def _drop(_tx: Tx, file: rules.DecisionFile) -> JobRecord:
    for path in (path_of(file), rewritten_path_of(file)):
        path.unlink(missing_ok=True)
    return lambda tx: tx.delete(store.decision_files, file.business_id, name=file.name)


def _forget(tx: Tx, business_id: str) -> JobRecord:
    """Erase persons from the files of a business; raise OSError if a file is missing or changed."""
    forgotten = store.forgotten
    query = sa.select(forgotten.c.person_id).where(forgotten.c.business_id == business_id)
    persons = list(tx.execute(query.order_by(forgotten.c.person_id)).scalars())
    decision_files = forget_in_files(store.list_decision_files(tx, business_id), persons)

    def record(tx: Tx) -> None:
        for file in decision_files:
            store.record_decision_file(tx, file)
        for chunk in batched(persons, store.AT_ONCE):
            tx.delete(forgotten, business_id, person_id=chunk)

    return record


def _seal(tx: Tx, folder: Path, stream: rules.Stream, last_day: date) -> JobRecord:
    """Write one file for each ended day, with its entries in the order of arrival."""
    unsealed = store.list_all_entries(tx, stream.business_id, stream.sealed_seq, AT_ONCE)
    files = [
        write_decisions(folder, stream.business_id, day.isoformat(), map(_export, group))
        for day, group in groupby(takewhile(lambda entry: _day_of(entry) <= last_day, unsealed), _day_of)
    ]

    def record(tx: Tx) -> None:
        for file in files:
            tx.insert_ignore(store.decision_files, row_of(file))
        store.record_progress(tx, stream.business_id, sealed_seq=files[-1].last_seq)

    return record


def _export(entry: Entry) -> dict[str, Any]:
    """Convert an entry to a row of a file; ad groups and ads keep only their place in the order."""
    if entry.kind is EntryKind.DECISION:
        return row_of_entry(entry, read_record(entry.body))
    if entry.kind in _WITH_WORD:
        outcome = msgspec.msgpack.decode(entry.body, type=OutcomeBody)
        return row_of_entry(entry, word=outcome.value, ts=outcome.ts)
    return row_of_entry(entry)
