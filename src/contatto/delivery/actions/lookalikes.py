"""Finding the members of lookalikes: those of the viewers with consent who most likely become good leads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Final
from uuid import UUID

from contatto.ads.model import AdGroup
from contatto.ads.store import list_live_ads
from contatto.audiences.actions import keep_lookalike
from contatto.audiences.model import Audience, AudienceKind, Fingerprint, Lookalike
from contatto.audiences.rules import conversion_of, lookalike_of, source_number
from contatto.audiences.store import find_audience_by_number, list_due_lookalikes
from contatto.delivery.actions.packing import read_record
from contatto.delivery.actions.training import load_learning
from contatto.delivery.model.lines import Candidate, RankLine
from contatto.delivery.model.log import NOBODY
from contatto.delivery.predict.marketplace import Marketplace
from contatto.delivery.predict.reporting import rank_candidates
from contatto.delivery.rules.asking import DEVICE
from contatto.delivery.rules.lookalikes import Alike, Wanted, choose_alike
from contatto.delivery.store import log as entries
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal
from contatto.measurement.store import list_converted_persons

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


def list_known_viewers(tx: Tx, business_id: str) -> dict[str, Candidate]:
    """Viewers with consent by whom delivery remembers them as, with what the last request for each said."""
    known_viewers: dict[str, Candidate] = {}
    before = None
    for _ in range(MOST_DECISIONS // _AT_ONCE):
        latest = entries.list_decisions(tx, business_id, _AT_ONCE, before)
        for entry in latest:
            record = read_record(entry.body)
            if record.viewer != NOBODY and record.viewer not in known_viewers:
                known_viewers[record.viewer] = Candidate(record.viewer, record.country, record.features)
        if len(latest) < _AT_ONCE or len(known_viewers) >= MOST_VIEWERS:
            break
        before = latest[-1].seq
    return known_viewers


def _leads_of(marketplace: Marketplace, group: AdGroup) -> int:
    groups = marketplace.market.groups
    place = groups.by_id.get(str(group.number))
    return 0 if place is None else groups.groups[place].leads


def _score(marketplace: Marketplace, group: AdGroup, viewers: Mapping[str, Candidate]) -> list[float]:
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
