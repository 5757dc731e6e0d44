"""Ad servers of a process: live ads, models, budget leases, decisions, and auctions between businesses."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from itsdangerous import Signer
from starlette.requests import Request

from contatto.accounts import store as accounts
from contatto.accounts.auth import API_HEADER, api_caller
from contatto.accounts.model import BusinessId, Caller
from contatto.ads.model import Facts
from contatto.ads.rules.settings import is_eligible, next_steps
from contatto.ads.store import LiveNodes, load_live_nodes
from contatto.audiences import store as audiences
from contatto.audiences.model import AudienceKind, Fingerprint
from contatto.audiences.rules import conversion_of
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.delivery import rules, store
from contatto.delivery.actions import ledger
from contatto.delivery.store import find_newest_version, list_models, list_states, load_model
from contatto.kit import errors
from contatto.kit.concurrency import FreshValues
from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import hash_secret, new_id, new_number
from contatto.kit.log import logger, where
from contatto.kit.runtime import freeze_new_objects
from contatto.kit.values import micros
from contatto.learning.features import name_hash
from contatto.learning.marketplace import AuctionRequest, Replica, settle_record
from contatto.learning.model import NOBODY, AdGroupLine, AdLine, Hurdle, ModelVersion, Record
from contatto.learning.storage import Damaged, Different
from contatto.measurement import store as measurement
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket, viewer_id_of
from contatto.operators.actions import OperatorIndex
from contatto.operators.model import OperatorSnapshot, Placement
from contatto.operators.rules import review_digest

AUDIENCE_FRESH: Final = timedelta(minutes=1)
"""Members of an audience with a rule are read again after this time."""


@dataclass(frozen=True, slots=True)
class _Members:
    """Members of an audience, with the time of the read and of the last change before it."""

    listed: frozenset[rules.Member]
    changed_at: datetime
    read_at: datetime


@dataclass(slots=True)
class SnapshotCache:
    """Last read of a business, so that unchanged parts are not built again."""

    members: dict[str, _Members] = field(default_factory=dict)
    live: LiveNodes | None = None
    accounts: tuple[object, ...] = ()
    """Ad accounts, channel accounts, and accounts with capture."""
    candidates: tuple[rules.Candidate, ...] = ()
    lines: tuple[AdGroupLine | AdLine, ...] = ()


def load_snapshot(tx: Tx, business_id: str, cache: SnapshotCache | None = None) -> rules.Snapshot:
    """Read the live ads of a business, and update the parts of the cache that changed since the last read.

    Raises NOT_FOUND.
    """
    business = check_found(accounts.find_business(tx, BusinessId(business_id)))
    cache = SnapshotCache() if cache is None else cache
    ad_accounts = accounts.list_ad_accounts(tx, business.id)
    channel_accounts = channels.list_accounts(tx, business_id)
    capturing = capture.list_capturing(tx, business_id)
    all_accounts = (ad_accounts, channel_accounts, capturing)
    live_nodes = load_live_nodes(tx, business_id, cache.live)
    if live_nodes is not cache.live or all_accounts != cache.accounts:
        account_of = {str(account.id): account for account in ad_accounts}
        channel_of = {account.id: account for account in channel_accounts}
        capped = {live.ad_group.id for live in live_nodes.live if live.ad_group.cap is not None}
        destinations: defaultdict[str, set[rules.AdDestination]] = defaultdict(set)
        for ad in measurement.list_measured_ads(tx, business_id).values() if capped else ():
            if ad.ad_group_id in capped:  # deleted ads too, because their viewers count
                destinations[ad.ad_group_id].add((ad.channel_account_id, ad.opens_own_chat))
        candidates: list[rules.Candidate] = []
        lines: list[AdGroupLine | AdLine] = []
        described: set[str] = set()
        for live in live_nodes.live:
            account, channel = account_of[live.ad.ad_account_id], channel_of[live.ad.channel_account_id]
            goal = live.ad_group.goal
            facts = Facts(
                channel.id,
                channel.registration_country,
                account.country,
                live.ad_group.countries,
                capture_on=channel.id in capturing,
            )
            may_serve = is_eligible(goal, facts) and not next_steps(goal, facts)
            own_chat = channel.platform is Platform.WEBCHAT
            places = tuple(sorted(destinations.get(live.ad_group.id, ())))
            candidates.append(
                rules.Candidate(live, may_serve, account.timezone, own_chat, account.currency, places)
            )
            if live.ad_group.id not in described:  # each ad group before its ads
                described.add(live.ad_group.id)
                lines.append(rules.describe_group(live.ad_group, live.campaign, account.timezone))
            lines.append(rules.describe_ad(live))
        cache.live, cache.accounts = live_nodes, all_accounts
        cache.candidates, cache.lines = tuple(candidates), tuple(lines)
    return rules.Snapshot(
        business_id,
        business.name,
        cache.candidates,
        _load_members(tx, business_id, cache.candidates, cache.members),
        cache.lines,
        tuple(list_states(tx, business_id)),
        find_newest_version(tx, business_id),
    )


def _load_members(
    tx: Tx, business_id: str, candidates: Iterable[rules.Candidate], cache: dict[str, _Members]
) -> dict[str, frozenset[rules.Member]]:
    """Return the members of the chosen audiences by audience number; read only changed audiences."""
    numbers: dict[str, set[int]] = {}
    for candidate in candidates:
        chosen = (*candidate.ad_group.audience_ids, *candidate.ad_group.excluded_audience_ids)
        numbers.setdefault(candidate.ad_group.ad_account_id, set()).update(map(int, chosen))
    members: dict[str, frozenset[rules.Member]] = {}
    for ad_account_id, chosen_numbers in numbers.items():
        if not chosen_numbers:
            continue
        for audience in audiences.list_audiences(tx, business_id, ad_account_id, chosen_numbers):
            cached = cache.get(audience.id)
            is_rule = audience.kind is AudienceKind.RULE
            if (
                cached is None
                or cached.changed_at != audience.updated_at
                or (is_rule and tx.now - cached.read_at >= AUDIENCE_FRESH)
            ):
                listed: frozenset[rules.Member]
                if is_rule:  # converted persons and their viewer ids, because publishers send only these
                    persons = measurement.list_converted_persons(tx, business_id, conversion_of(audience))
                    links = measurement.list_links(tx, business_id)
                    listed = persons.union(*(links[person_id] for person_id in persons & links.keys()))
                else:
                    listed = audiences.list_members(tx, business_id, audience.id)
                cached = cache[audience.id] = _Members(listed, audience.updated_at, tx.now)
            members[str(audience.number)] = cached.listed
    return members


FLUSH_S: Final = 0.1
"""Decisions of this time are written together, in the background."""
LATE_S: Final = 1.0
"""The same for decisions without a promise, such as those of businesses that lost the auction."""
LEASE_RENEW_S: Final = 1.0
"""Interval at which a busy ad server renews its leases."""
EMPTY_RENEW_S: Final = 0.2
"""The same after a lease is used up."""
LOW: Final = 0.5
"""Below this share of a lease the next flush renews it."""
KEPT_MODELS: Final = 128
"""A process keeps the models of this many businesses, and drops the least recently used one."""


class AdServer:
    """Serves ads in one process, with one `TenantAdServer` per business.

    ``most_views`` limits the views of one ad group per viewer and day, and ``trial_share`` is the share of
    viewers in the random arm; 0 for none.
    """

    def __init__(self, db: Database, most_views: int = 0, trial_share: float = 0.0) -> None:
        self.db = db
        self.name_id = db.vault.named_id
        self.live_ads = FreshValues(
            db.clock.now,
            lambda business_id: db.read(
                partial(load_snapshot, business_id=business_id, cache=self._caches[business_id])
            ),
            "delivery.index_not_read",
        )
        self.operators = OperatorIndex(db)
        self.packer = ledger.Packer()
        self.server_id = new_id()
        self.most_views = most_views
        self.trial_share = trial_share
        self._tenants: dict[str, TenantAdServer] = {}
        self._queue: dict[str, None] = {}
        self._loading: asyncio.Task[None] | None = None
        self.offers: defaultdict[str, dict[str, float]] = defaultdict(dict)
        """Recent offers in each placement by business, in micros; auctions update them."""
        self._is_warm = False
        self._caches: defaultdict[str, SnapshotCache] = defaultdict(SnapshotCache)

    async def tenant(self, business_id: str) -> "TenantAdServer":
        """Return the ad server of a business, ready to compete."""
        if not self._is_warm:
            await asyncio.to_thread(warm_kernels)
            self._is_warm = True
            freeze_new_objects()
        tenant = self._tenants.pop(business_id, None) or TenantAdServer(self, business_id)
        self._tenants[business_id] = tenant
        if len(self._tenants) > KEPT_MODELS:
            idle = next((name for name, server in self._tenants.items() if not server.unwritten), None)
            self._tenants.pop(idle or business_id, None)
        await tenant.refresh()
        return tenant

    def has_tenant(self, business_id: str) -> bool:
        """Return whether the ads of a business are loaded."""
        tenant = self._tenants.get(business_id)
        return tenant is not None and tenant.snapshot is not None

    def load_tenant_soon(self, business_id: str) -> None:
        """Load the ads of a business in the background, one business at a time."""
        self._queue[business_id] = None
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_queued())

    async def _load_queued(self) -> None:
        while self._queue:
            business_id = next(iter(self._queue))
            try:
                with acting(business_id):
                    await self.tenant(business_id)
            except Exception as error:  # the next request tries again
                logger().warning("delivery.shop_not_read", error_at=where(error))
            finally:
                del self._queue[business_id]

    async def flush(self) -> None:
        """Write all pending decisions, and wait for models that are loading."""
        await self.operators.flush()
        if self._loading is not None:
            await self._loading
        for tenant in list(self._tenants.values()):
            await tenant.flush()
            if tenant.loading is not None:
                await tenant.loading


def warm_kernels() -> None:
    """Compile or load the numba kernels, which is slow the first time."""
    replica = Replica(0)
    replica.set_live(
        [AdGroupLine(ts=1, adgroup_id="1", advertiser_id="1"), AdLine(ts=1, ad_id="1", adgroup_id="1")]
    )
    replica.decide(AuctionRequest(1, 1_000_000, "somebody", "SG", {"kind": "none"}, 1, [1], {1: 1.0}))


class TenantAdServer:
    """Live ads, model and budget leases of one business in one process."""

    def __init__(self, server: AdServer, business_id: str) -> None:
        self.server = server
        self._db = server.db
        self.business_id = business_id
        self.seed = seed_of(business_id)
        self.snapshot: rules.Snapshot | None = None
        self.replica = Replica(self.seed)
        self._prepared: tuple[Replica | None, object] = (None, None)
        """The replica that has ads, and these ads."""
        self.bidders: tuple[rules.Bidder, ...] = ()
        self.limits_views = False
        """An ad group has a frequency cap, or the installation limits views."""
        self.terms: list[rules.Candidate] = []
        """One ad of each distinct set of terms; `Bidder.terms` is the index."""
        self.candidates: dict[int, rules.Candidate] = {}
        self.revisions: dict[int, tuple[str, str]] = {}
        """Id and digest of ads that an operator has to approve."""
        self.caps = ledger.FrequencyCaps(server.db, business_id)
        self._unused_claims: list[int] = []
        """Decisions that claimed a view under a frequency cap and did not use it."""
        self._leases: dict[str, float] = {}
        """Leases in micros, by ad group."""
        self.available: dict[str, float] = {}
        """The rest of the leases."""
        self._used: dict[str, ledger.LeaseUse] = {}
        """Promises since the last renewal."""
        self.unwritten: list[ledger.LoggedDecision] = []
        self._expires_at = 0
        """Expiry of the leases."""
        self.renewed_at = 0.0
        self._is_flush_due = False
        self._renews = False
        """The next flush renews the leases too."""
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self._flushing: dict[float, asyncio.Task[None]] = {}
        self.loading: asyncio.Task[None] | None = None
        self._refused_version = 0
        """Version of a damaged model, which is not loaded again."""

    async def refresh(self) -> None:
        """Refresh ads, model and leases that are too old."""
        snapshot = await self.server.live_ads.get(self.business_id)
        if snapshot is not self.snapshot:
            before, self.snapshot = self.snapshot, snapshot
            if before is None or before.candidates is not snapshot.candidates:
                self.bidders = rules.gather_bidders(snapshot.candidates)
                self.limits_views = bool(self.server.most_views) or any(bidder.cap for bidder in self.bidders)
                self.terms = list({bidder.terms: bidder.candidate for bidder in self.bidders}.values())
                self.candidates = {candidate.live.ad.number: candidate for candidate in snapshot.candidates}
                self.revisions = {}
            if snapshot.version not in (self.replica.version, self._refused_version) and self.loading is None:
                self.loading = asyncio.create_task(self._load(snapshot.version))
                self.loading.add_done_callback(self._end_loading)
                if before is None:
                    await self.loading
            self._prepare()
        elif self._prepared[0] is None and self.loading is not None:  # concurrent requests wait for it too
            await asyncio.wait({self.loading})
            self._prepare()
        if self._expires_at <= micros(self._db.clock.now()) or not self.renewed_at:
            await self.flush()
        elif time.monotonic() - self.renewed_at > LEASE_RENEW_S:
            self.flush_soon(renews=True)

    def _prepare(self) -> None:
        if self.snapshot is not None:
            if self._prepared[0] is not self.replica or self._prepared[1] is not self.snapshot.lines:
                self.replica.set_live(self.snapshot.lines)
                self._prepared = (self.replica, self.snapshot.lines)
            self.replica.set_multipliers({state.number: state.multiplier for state in self.snapshot.states})

    async def _load(self, newest: int) -> None:
        """Load the newest undamaged model."""
        replica = await self._db.run_aside(
            lambda: self._db.read_now(lambda tx: load_replica(tx, self.business_id)), self.business_id
        )
        if replica is None or replica.version != newest:
            self._refused_version = newest
        if replica is not None and replica.version != self.replica.version:
            self.replica = replica
            self._prepare()

    def _end_loading(self, loading: asyncio.Task[None]) -> None:
        self.loading = None
        error = None if loading.cancelled() else loading.exception()
        if error is not None:
            logger().error("delivery.model_not_loaded", error_at=where(error))

    def note(self, record: Record, candidate: rules.Candidate | None) -> None:
        """Promise the price of a decision from the lease, and write both soon."""
        promise = None
        if candidate is not None:
            ad_group, amount = candidate.ad_group, record.price_micros // 1_000
            rest = self.available[ad_group.id] = self.available.get(ad_group.id, 0.0) - amount
            lease = self._leases.get(ad_group.id)
            self._renews |= lease is None or rest < LOW * lease
            used = self._used.get(ad_group.id, ledger.LeaseUse())
            self._used[ad_group.id] = ledger.LeaseUse(
                used.micros + amount, max(amount, rules.LEAST_VIEW_MICROS)
            )
            promise = rules.Promise(
                self.business_id, record.nonce, ad_group.id, ad_group.ad_account_id, amount,
                record.ts + ledger.PROMISE_US, "" if ad_group.cap is None else record.viewer,
            )  # fmt: skip
        decision = ledger.LoggedDecision(record, promise)
        self.unwritten.append(decision)
        self.server.packer.add(decision)
        is_urgent = promise is not None or self._renews
        self.flush_soon(renews=self._renews, within_s=FLUSH_S if is_urgent else LATE_S)

    def settle_claims(self, claims: ledger.Claims, record: Record, *, is_shown: bool = True) -> None:
        """Give back the claim of a decision that shows another ad, or none."""
        if claims.granted and not (is_shown and record.ad_group == claims.granted):
            self._unused_claims.append(record.nonce)
            self.caps.give_back(record.viewer, claims.granted)

    def flush_soon(self, *, renews: bool, within_s: float = FLUSH_S) -> None:
        """Write pending decisions in the background, and renew the leases with ``renews``."""
        self._is_flush_due = True
        self._renews |= renews
        flushing = self._flushing.get(within_s)
        if flushing is None or flushing.done():
            self._flushing[within_s] = asyncio.create_task(self._flush_later(within_s))

    async def _flush_later(self, within_s: float) -> None:
        await asyncio.sleep(within_s)
        if not self._is_flush_due:  # another flush was faster
            return
        try:
            await self.flush(renews=self._renews)
        except Exception as error:  # the next flush tries again
            logger().error("delivery.log_not_written", error_at=where(error))

    async def flush(self, *, renews: bool = True) -> None:
        """Write pending decisions, and renew the leases with ``renews``."""
        loop = asyncio.get_running_loop()
        if loop not in self._locks:  # a server has one loop; commands and tests have one per run
            self._locks = {loop: asyncio.Lock()}
        async with self._locks[loop]:
            if self.snapshot is None:
                return
            self._is_flush_due = self._renews = False
            snapshot, unwritten, used = self.snapshot, self.unwritten, self._used if renews else {}
            unused_claims = self._unused_claims
            self.unwritten, self._unused_claims = [], []
            if renews:  # the last price of a view stays the best guess for the next one
                self._used = {name: ledger.LeaseUse(0, use.view_micros) for name, use in self._used.items()}
            business_id, server_id = self.business_id, self.server.server_id

            def write(tx: Tx) -> tuple[int, dict[str, float]]:
                if unused_claims:
                    store.delete_promises(tx, business_id, unused_claims)
                ledger.log_decisions(tx, business_id, unwritten)
                leases: dict[str, float] = {}
                if renews:
                    leases = ledger.renew_leases(tx, business_id, server_id, snapshot.candidates, used)
                return micros(tx.now) + ledger.LEASE_US, leases

            try:
                with acting(business_id):  # an operator may have sent the request
                    expires_at, leases = await self._db.write(write)
            except BaseException:
                self.unwritten = unwritten + self.unwritten
                self._unused_claims = unused_claims + self._unused_claims
                self._used = used | self._used
                self._renews |= renews
                raise
            if renews:
                self.renewed_at = time.monotonic()
                self._leases, self._expires_at = leases, expires_at
                self.available = {
                    name: lease - self._used.get(name, ledger.LeaseUse()).micros
                    for name, lease in leases.items()
                }


def load_replica(tx: Tx, business_id: str) -> Replica | None:
    """Return the newest undamaged model of a business; None without any."""
    seed = seed_of(business_id)
    restored = restore_model(tx, business_id, lambda model, raw: Replica(seed, model.version, raw))
    return None if restored is None else restored[1]


def restore_model[T](
    tx: Tx, business_id: str, restore: Callable[[ModelVersion, bytes], T], through: int | None = None
) -> tuple[ModelVersion, T] | None:
    """Restore the newest undamaged model of a business, up to an entry; log damaged ones."""
    for model in list_models(tx, business_id):
        if not model.has_blob or (through is not None and model.through > through):
            continue
        raw = load_model(tx, business_id, model.version)
        try:
            if raw is None:
                raise Damaged("it is not what was published")
            return model, restore(model, raw)
        except (Damaged, Different) as error:
            logger().error("delivery.model_damaged", version=model.version, says=str(error))
    return None


def seed_of(business_id: str) -> int:
    """Return the seed of a business's marketplace, which is the same in every process."""
    return name_hash("delivery", business_id) >> 1


TOKEN_TTL_S: Final = 0.5
"""A revoked token may still get ads for this long."""
TOKEN_REFRESH_S: Final = 0.25
"""A check older than this is repeated in the background."""
_MOST: Final = 1_000
"""Limit of cached callers."""


class RecentCallers:
    """Callers by the hash of their token; unknown tokens are not cached."""

    def __init__(self) -> None:
        self._callers: dict[str, tuple[float, Caller]] = {}
        self._checks: dict[str, asyncio.Task[Caller]] = {}

    async def caller_of(self, request: Request) -> Caller:
        """Return the caller of a request; a busy caller is checked in the background.

        Raises SIGN_IN, BAD_TOKEN.
        """
        key = hash_secret(request.headers.get(API_HEADER, ""))
        cached = self._callers.get(key)
        age_s = TOKEN_TTL_S if cached is None else time.monotonic() - cached[0]
        if cached is None or age_s >= TOKEN_TTL_S:
            return await self._look_up(key, request)
        if age_s >= TOKEN_REFRESH_S and key not in self._checks:
            check = self._checks[key] = asyncio.create_task(self._look_up(key, request))
            check.add_done_callback(partial(self._end_check, key))
        return cached[1]

    async def _look_up(self, key: str, request: Request) -> Caller:
        caller = await api_caller(request)
        if len(self._callers) >= _MOST:
            self._callers.clear()
        self._callers[key] = (time.monotonic(), caller)
        return caller

    def _end_check(self, key: str, check: asyncio.Task[Caller]) -> None:
        """Forget a token that is not valid any more; after a failed check the next request checks it."""
        del self._checks[key]
        if check.cancelled() or check.exception() is not None:
            self._callers.pop(key, None)


type PlacementCheck = Callable[[rules.Bidder], tuple[Hurdle | None, tuple[int, ...], float]]
"""Returns the hurdle of a bidder in a placement, or its allowed ads and their highest total price."""


async def serve_ad(
    server: AdServer, business_id: str, request: rules.AdRequest, at: datetime, signer: Signer
) -> rules.ServedAd | None:
    """Decide which ad of one business a viewer sees; None when none may be shown."""
    tenant = await server.tenant(business_id)
    nonce, claims = new_number(), ledger.Claims()
    if tenant.snapshot is None or not tenant.snapshot.candidates:
        return None
    record = tenant.replica.propose(gather_request(tenant, request, nonce, at, claims))
    while not await is_within_cap(tenant, request, record, claims):
        tenant.replica.take_back(record)
        record = tenant.replica.propose(gather_request(tenant, request, nonce, at, claims))
    tenant.replica.note_shown(record)
    tenant.settle_claims(claims, record)
    chosen = tenant.candidates.get(record.ad) if record.ad else None
    if chosen is None:
        tenant.note(record, None)
        return None
    return issue_ad(tenant, chosen, record, request, signer)


def gather_request(
    tenant: TenantAdServer, request: rules.AdRequest, nonce: int, at: datetime, claims: ledger.Claims,
    check_placement: PlacementCheck | None = None,
) -> AuctionRequest:  # fmt: skip
    """Gather the ads of one business that may compete for a request, with their budgets.

    The loop over all ad groups runs for each request, so everything that they share is computed before it.
    """
    name_id, viewer = tenant.server.name_id, NOBODY
    if request.has_consent:
        viewer = name_id(tenant.business_id, f"delivery:{request.viewer_id}")

    def find_identity(candidate: rules.Candidate) -> frozenset[rules.Member]:
        """Return the id of the viewer at the account of an ad, the pseudonym, and fingerprints."""
        account_id = candidate.live.ad.channel_account_id
        person = viewer_id_of(name_id, account_id, request.viewer_id, own_chat=candidate.own_chat)
        own: set[rules.Member] = {person} if viewer == NOBODY else {person, UUID(viewer).bytes}
        return request.prints | own

    members: rules.Members = {} if tenant.snapshot is None else tenant.snapshot.members
    able: list[int] = []
    available: dict[int, float] = {}
    left_out: dict[int, str] = {}
    leases, now_ts = tenant.available, micros(at)
    floor = max(request.floor_micros, rules.RESERVE_MICROS)
    has_history = viewer != NOBODY and tenant.limits_views
    by_terms = [rules.compare_terms(candidate, request) for candidate in tenant.terms]
    for bidder in tenant.bidders:
        number = bidder.ad_group_number
        hurdle = rules.find_hurdle(bidder.candidate, by_terms[bidder.terms], at, find_identity, members)
        if hurdle is None and has_history and _is_capped(tenant, bidder, viewer, now_ts, claims):
            hurdle = Hurdle.FREQUENCY
        if hurdle is None:
            budget, ads = leases.get(bidder.ad_group_id, 0.0), bidder.ads
            if budget * 1_000 < floor:
                hurdle = Hurdle.BUDGET
                if time.monotonic() - tenant.renewed_at > EMPTY_RENEW_S:
                    tenant.flush_soon(renews=True)
            elif check_placement is not None:
                hurdle, ads, most = check_placement(bidder)
                budget = min(budget, most)
            if hurdle is None:
                able += ads
                available[number] = budget
                continue
        left_out.setdefault(number, hurdle.value)
    return AuctionRequest(
        nonce, now_ts, viewer, request.country, rules.features_of(request), floor, able, available,
        {number: why for number, why in left_out.items() if number not in available},
        rules.trial_of(viewer, tenant.server.trial_share) if viewer != NOBODY else 0,
    )  # fmt: skip


def _is_capped(
    tenant: TenantAdServer, bidder: rules.Bidder, viewer: str, now_ts: int, claims: ledger.Claims
) -> bool:
    """Report whether a viewer reached the frequency cap of an ad group or of the installation."""
    number, cap, most_views = bidder.ad_group_number, bidder.cap, tenant.server.most_views
    if most_views and tenant.replica.shown_lately(viewer, number) > most_views - 0.5:
        return True
    if cap is None or number == claims.granted:
        return False
    return number in claims.refused or tenant.caps.is_reached(viewer, number, cap, now_ts)


async def is_within_cap(
    tenant: TenantAdServer, request: rules.AdRequest, record: Record, claims: ledger.Claims
) -> bool:
    """Report whether the decision is final under the frequency cap of the chosen ad's ad group.

    Without a granted claim this claims a view in the database, and returns False even if it is granted.
    Decide again then, because budgets and ads may have changed meanwhile.
    """
    chosen = tenant.candidates.get(record.ad) if record.ad else None
    cap = None if chosen is None else chosen.ad_group.cap
    if chosen is None or cap is None or record.viewer == NOBODY or record.ad_group == claims.granted:
        return True
    name_id = tenant.server.name_id
    persons = {
        viewer_id_of(name_id, account_id, request.viewer_id, own_chat=own_chat)
        for account_id, own_chat in chosen.destinations
    }
    claim = ledger.ViewClaim(record.nonce, chosen.ad_group, cap, record.viewer, tuple(sorted(persons)))
    if not await tenant.caps.claim(claim):
        claims.refused.add(record.ad_group)
        return False
    if claims.granted:  # the new claim replaced it
        claims.refused.add(claims.granted)
        tenant.caps.give_back(record.viewer, claims.granted)
    claims.granted = record.ad_group
    return False


def issue_ad(
    tenant: TenantAdServer, chosen: rules.Candidate, record: Record, request: rules.AdRequest, signer: Signer
) -> rules.ServedAd:
    """Note that an ad is shown, and sign its links for the viewer."""
    tenant.note(record, chosen)
    ad, cost = chosen.live.ad, record.price_micros // 1_000
    view = TrackingTicket(
        TicketKind.VIEW, tenant.business_id, ad.id, record.nonce, request.viewer_id, cost,
        request.country, record.placement, record.trial,
    )  # fmt: skip
    click = replace(view, kind=TicketKind.CLICK, cost_micros=0)
    return rules.ServedAd(
        ad_id=str(ad.number),
        ad_name=ad.name,
        headline=ad.headline,
        text=ad.text,
        business_name="" if tenant.snapshot is None else tenant.snapshot.business_name,
        view_url=f"/t/v/{sign_ticket(view, signer)}",
        click_url=f"/t/c/{sign_ticket(click, signer)}",
        decision_id=str(record.nonce),
    )


type BlindFor = Callable[[str], Iterable[Fingerprint]]
"""Returns the fingerprints of a viewer for one business; each business has its own."""
_PSEUDONYM_PREFIX: Final = "placement:"
_NEWEST: Final = 0.1
"""Weight of the newest offer in the moving average of a business."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A business that may compete, the request as it may see it, and its claims under frequency caps."""

    tenant: TenantAdServer
    request: rules.AdRequest
    claims: ledger.Claims = field(default_factory=ledger.Claims)


async def serve_placement(
    server: AdServer,
    market: OperatorSnapshot,
    request: rules.AdRequest,
    blind_for: BlindFor,
    at: datetime,
    signer: Signer,
) -> rules.ServedAd | None:
    """Decide which ad of all admitted businesses a viewer sees in a placement; None when none may be shown.

    The ``placement`` of the request is the id or the name of one of the operator's. Raises NOT_FOUND when the
    operator has no placement of this name.
    """
    placement = market.placements.get(request.placement)
    if placement is None:
        named = (item for item in market.placements.values() if item.name == request.placement)
        placement = next(named, None)
    if placement is None:
        raise Refused(
            errors.NOT_FOUND, "placement: Unknown placement. Give the id or name of one of your placements."
        )
    viewer = NOBODY
    if request.has_consent:
        viewer = server.name_id(placement.business_id, f"{_PSEUDONYM_PREFIX}{request.viewer_id}")
    is_capped = False
    if placement.most_views and viewer != NOBODY:
        day = server.operators.day_of(market.operator)
        is_capped = await server.operators.count_seen(placement, viewer, day) >= placement.most_views
    served = None
    if not is_capped:
        floor = max(request.floor_micros, placement.floor_micros)
        placed = replace(request, placement=placement.id, floor_micros=floor, ad_account_ids=None)
        able = [
            name
            for name, admission in market.admitted.items()
            if placement.is_on
            and name not in placement.blocked
            and (not placement.categories or admission.category in placement.categories)
        ]
        invited = rules.choose_invited(able, server.offers[placement.id], at.timestamp())
        # with many businesses, new ones load in the background and miss this auction
        waits = len(invited) == len(able) or not any(map(server.has_tenant, invited))
        entrants = []
        for business_id in invited:
            if not waits and not server.has_tenant(business_id):
                server.load_tenant_soon(business_id)
                continue
            with acting(business_id):
                tenant = await server.tenant(business_id)
            if tenant.snapshot is not None and tenant.snapshot.candidates:
                prints = frozenset(blind_for(business_id))
                own_request = replace(placed, prints=prints) if prints != placed.prints else placed
                entrants.append(Entrant(tenant, own_request))
        served = await _compete(server, market, placement, entrants, at, signer)
    server.operators.count_request(market.operator, placement, viewer, is_filled=served is not None)
    return served


async def _compete(
    server: AdServer, market: OperatorSnapshot, placement: Placement, entrants: list[Entrant], at: datetime,
    signer: Signer,
) -> rules.ServedAd | None:  # fmt: skip
    """Let each business propose an ad, until the best one is within its frequency cap, and issue that one."""
    nonce = new_number()
    while True:
        records = []
        for entrant in entrants:
            check = partial(_check_placement, server, market, placement, entrant.tenant)
            able = gather_request(entrant.tenant, entrant.request, nonce, at, entrant.claims, check)
            records.append(entrant.tenant.replica.propose(able))
        winner, to_beat = rules.rank_offers([record.offer_micros for record in records], nonce)
        if winner is None:
            break
        best = entrants[winner]
        if await is_within_cap(best.tenant, best.request, records[winner], best.claims):
            break
        for entrant, record in zip(entrants, records, strict=True):
            entrant.tenant.replica.take_back(record)
    served, averages = None, server.offers[placement.id]
    for index, (entrant, record) in enumerate(zip(entrants, records, strict=True)):
        tenant, is_winner = entrant.tenant, index == winner
        tenant.settle_claims(entrant.claims, record, is_shown=is_winner)
        before = averages.get(tenant.business_id, 0.0)
        averages[tenant.business_id] = before + _NEWEST * (record.offer_micros - before)
        record.placement, record.to_beat_micros = placement.id, to_beat[index]
        settle_record(record)
        chosen = tenant.candidates.get(record.ad) if record.ad else None
        if is_winner and chosen is not None:
            tenant.replica.note_shown(record)
            served = issue_ad(tenant, chosen, record, entrant.request, signer)
            server.operators.note_promise(chosen.ad_group.ad_account_id, record.price_micros // 1_000)
        else:
            tenant.note(record, None)
    return served


def _check_placement(
    server: AdServer,
    market: OperatorSnapshot,
    placement: Placement,
    tenant: TenantAdServer,
    bidder: rules.Bidder,
) -> tuple[Hurdle | None, tuple[int, ...], float]:
    """Check a bidder for a placement: same currency, approved ads, and enough balance."""
    candidate = bidder.candidate
    if candidate.currency != placement.currency:
        return Hurdle.CURRENCY, (), 0.0
    approved = []
    for number in bidder.ads:
        revision = tenant.revisions.get(number)
        if revision is None:
            ad = tenant.candidates[number].live.ad
            revision = tenant.revisions[number] = ad.id, review_digest(ad)
        if revision in market.approved:
            approved.append(number)
    if not approved:
        return Hurdle.REVIEW, (), 0.0
    most = server.operators.available_balance(market, candidate.ad_group.ad_account_id)
    hurdle = Hurdle.BALANCE if most * 1_000 < placement.floor_micros else None
    return hurdle, tuple(approved), most
