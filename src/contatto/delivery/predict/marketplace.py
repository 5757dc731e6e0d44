"""The marketplace: one value that is told what happens, in the order of time, and answers which ad is shown.

It has no clock, does no I/O and draws no chance but from its seed: the same lines give the same answers.
"""

from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contatto.delivery.model.lines import (
    AdGroupLine,
    AdLine,
    Answer,
    AnyLine,
    BidType,
    ClickLine,
    ConversationLine,
    LeadLine,
    QualityLine,
    Ranking,
    RankLine,
    Reporting,
    ReportLine,
    RequestLine,
    SpamLine,
    ViewLine,
)
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.reporting import rank_candidates, report_group
from contatto.delivery.predict.saving import restore_market, save_market
from contatto.delivery.predict.serving import decide_request, nothing, tell_shown
from contatto.delivery.predict.stepping import STEP_S, do_work, finish_work, steer_market, step_market
from contatto.delivery.predict.teaching import (
    take_click,
    take_conversation,
    take_lead,
    take_quality,
    take_spam,
    take_view,
)
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import MOST_AD_FEATURES
from contatto.delivery.rules.hashing import hash_once

MOST_ASKS: Final = 64
"""So many answers to reports and ranks are remembered, for who asks again."""
BACK_S: Final = 60
AHEAD_S: Final = 366 * 86_400
"""A line that is further ahead than this is not believed."""


class Unusable(Exception):
    """A line that cannot be used; its text says why."""


class Marketplace:
    """See the module; ``complain`` is told what was left out of a line that was used otherwise."""

    def __init__(
        self, seed: int = 0, *, is_random: bool = False, settings: dict[str, float] | None = None,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.market = Market(seed, is_random=is_random, settings=settings or {})
        self.complain = complain

    def take(self, line: AnyLine) -> Answer | None:
        """Take a line; the answer comes back where the line is answered.

        Raises:
            Unusable: with the reason; nothing was changed.
        """
        if isinstance(line, RequestLine):
            return self._take_request(line)
        if isinstance(line, ViewLine | ClickLine):
            self._take_touch(line)
        elif isinstance(line, ReportLine | RankLine):
            return self._answer_ask(line)
        elif not self._is_repeated(line):
            if isinstance(line, AdGroupLine):
                self._take_group(line)
            elif isinstance(line, AdLine):
                self._take_ad(line)
            else:
                self._take_outcome(line)
        return None

    def _pass_time(self, ts: int) -> None:
        market = self.market
        if ts > market.now:
            if market.requests and ts - market.now > AHEAD_S * SECOND:
                raise Unusable("its time is more than a year ahead of the line before")
            market.now = ts
            if ts - market.stepped_at >= STEP_S * SECOND:
                step_market(market)
                market.caps.drop_old(ts, int(market.promise_wait * SECOND))
            for group in market.groups.groups:
                if ts >= group.day_until:
                    market.groups.turn_days(ts)
                    steer_market(market)
                    break
        elif market.now - ts > BACK_S * SECOND:
            raise Unusable("its time is more than a minute before that of an earlier line")

    def _is_repeated(self, line: AnyLine) -> bool:
        """Return whether the very same was said before; it is remembered, unless its time cannot be."""
        market = self.market
        digest = hash_once(_ENCODER.encode(line).decode())
        if digest in market.seen:
            return True
        self._pass_time(line.ts)
        market.seen.add(digest)
        market.seen_order.append((market.now, digest))
        return False

    def _take_request(self, line: RequestLine) -> Answer:
        market = self.market
        known = market.records.shown.get(line.request_id, _NEW)
        if known is not _NEW:
            return nothing(line.request_id) if known is None else tell_shown(market, known)  # type: ignore[arg-type]
        self._pass_time(line.ts)
        do_work(market)
        answer = decide_request(market, line, self.complain)
        if market.requests < 4096 and market.requests & (market.requests - 1) == 0:
            steer_market(market)
        return answer

    def _take_touch(self, line: ViewLine | ClickLine) -> None:
        market = self.market
        is_click = isinstance(line, ClickLine)
        shown = market.records.shown.get(line.request_id)
        if shown is None:
            raise Unusable("no ad was shown for this request, or it was too long ago")
        if (shown.clicked_at or shown.early_click_at) if is_click else shown.viewed_at:
            return
        self._pass_time(line.ts)
        if not is_click:
            take_view(market, shown, line.ts)
            market.caps.note_view(shown)
        elif shown.viewed_at:
            take_click(market, shown, line.ts)
        else:
            shown.early_click_at = max(line.ts, 1)

    def _take_group(self, line: AdGroupLine) -> None:
        try:
            ZoneInfo(line.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise Unusable(f"there is no time zone {line.timezone[:40]!r}") from error
        if line.bid_type is BidType.CUSTOM and not line.bid_micros:
            self.complain("a custom bid without bid_micros counts as no bid")
        if bool(line.frequency) != bool(line.frequency_schedule):
            self.complain("a frequency cap needs both frequency and frequency_schedule, so there is none")
        market = self.market
        known = market.groups.by_id.get(line.adgroup_id)
        if known is not None and market.groups.groups[known].line.advertiser_id != line.advertiser_id:
            raise Unusable("an ad group stays with its advertiser")
        group = market.groups.set_group(line, market.now)
        market.caps.set_cap(line, group.number, market.records)
        for each in (market.talks, market.leads, market.spam, market.calibration):
            each.grow(len(market.groups.groups))
        if market.requests:
            steer_market(market)

    def _take_ad(self, line: AdLine) -> None:
        groups = self.market.groups
        if line.adgroup_id not in groups.by_id:
            raise Unusable("its ad group is not known")
        known = groups.ad_by_id.get(line.ad_id)
        if known is not None and groups.ad_lines[known].adgroup_id != line.adgroup_id:
            raise Unusable("an ad stays in its ad group")
        hashed = self.market.ad_fields.hash_features(line.features or {}, MOST_AD_FEATURES, self.complain)
        groups.set_ad(line, hashed)

    def _take_outcome(self, line: ConversationLine | SpamLine | LeadLine | QualityLine) -> None:
        market = self.market
        viewer = market.viewers.by_id.get(line.viewer_id)
        advertiser = market.groups.advertisers.get(line.advertiser_id)
        if advertiser is None:
            raise Unusable("its advertiser has no ad group")
        if viewer is None:
            raise Unusable("its viewer was never asked for")
        if isinstance(line, ConversationLine):
            take_conversation(market, line, viewer, advertiser)
        elif isinstance(line, LeadLine):
            take_lead(market, line, viewer, advertiser)
        elif isinstance(line, SpamLine):
            take_spam(market, viewer, advertiser)
        else:
            take_quality(market, line, viewer, advertiser)

    def _answer_ask(self, line: ReportLine | RankLine) -> Answer:
        """Answer a question, or repeat the answer to one that was asked before."""
        market = self.market
        known = market.asked.get(line.ask_id)
        if known is not None:
            if known[0] == "report":
                return msgspec.msgpack.decode(known[1], type=Reporting)
            return msgspec.msgpack.decode(known[1], type=Ranking)
        self._pass_time(line.ts)
        answer: Answer
        if isinstance(line, ReportLine):
            answer = Reporting(line.ask_id, [report_group(market, group) for group in market.groups.groups])
        else:
            answer = rank_candidates(market, line, self.complain)
        kind = "report" if isinstance(line, ReportLine) else "rank"
        market.asked[line.ask_id] = (kind, msgspec.msgpack.encode(answer))
        if len(market.asked) > MOST_ASKS:
            market.asked.pop(next(iter(market.asked)))
        return answer

    def save(self) -> bytes:
        """All that is known, for `restore`; work that is done in slices is finished first."""
        finish_work(self.market)
        return save_market(self.market)

    @property
    def is_busy(self) -> bool:
        """Return whether some work is done in slices between requests now; saving would finish it early."""
        return self.market.work is not None

    def restore(self, raw: bytes) -> None:
        """Go on where the saved one was.

        Raises:
            Damaged: these bytes are not whole.
            Different: they are of another seed, policy or settings.
        """
        restore_market(self.market, raw)


_NEW: Final = object()
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
