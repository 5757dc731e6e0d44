"""Events that the learner takes in a second of one core: its kernels alone, and all that a line needs."""

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.decision_parts.scoring import request_line, shop_lines
from contatto.kit.runtime import Array
from contatto.learning.columns import CLICK, CONVERSATION, F_CONTEXT, F_VIEWER, LEAD
from contatto.learning.features import slot_of
from contatto.learning.learner import learn_one
from contatto.learning.market import Learned, Viewers
from contatto.learning.marketplace import Marketplace
from contatto.learning.model import ClickLine, ConversationLine, LeadLine, LineLeadSource, ViewLine

FEATURES: Final = 24
"""Hashed features of an event, as many as the learners have that ours is compared with."""
VALUES: Final = 200
"""Each feature has so many values."""
VIEWERS: Final = 1_000
TABLE_BITS: Final = 20
FLOOR_VARIANCE: Final = 0.004

type Numbers = NDArray[np.float64]


def kernel_rows(count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Work that learns ``count`` events, by what of an event is learned."""
    work, rng = _fresh(learn_events), np.random.default_rng(1)
    names = rng.integers(1, 2**63, (FEATURES, VALUES), dtype=np.uint64)
    chosen = rng.integers(0, VALUES, (count, FEATURES))
    hashes = names[np.arange(FEATURES), chosen]
    came = (rng.random((count, 3)) < (0.05, 0.35, 0.35)).astype(np.int64)
    viewers = rng.integers(0, VIEWERS, count)
    for name, is_funnel in (("three heads of each event", 0), ("each head where the one before came", 1)):
        learned, known = Learned(TABLE_BITS), Viewers()

        def learn(learned: Learned = learned, known: Viewers = known, is_funnel: int = is_funnel) -> None:
            work(
                is_funnel, hashes, came, viewers, learned.shift, learned.table, learned.family_of,
                learned.slots, learned.weights, learned.families, learned.spread, known.table,
                learned.spread[F_VIEWER],
            )  # fmt: skip

        yield name, learn


def learn_events(  # noqa: PLR0913, PLR0917 — a kernel
    is_funnel: int, hashes: Array, came: Array, viewers: Array, shift: np.uint64, table: Array,
    family_of: Array, slots: Array, weights: Array, families: Array, spread: Array, viewer_table: Array,
    viewer_spread: Array,
) -> None:  # fmt: skip
    """Learn click, conversation and lead of each event; in a funnel each only where the one before came."""
    for i in range(hashes.shape[0]):
        for j in range(FEATURES):
            slots[j], weights[j], families[j] = slot_of(hashes[i, j], shift), 1.0, F_CONTEXT
        for head in (CLICK, CONVERSATION, LEAD):
            learn_one(
                table, family_of, slots, weights, families, FEATURES, head, spread, FLOOR_VARIANCE,
                viewer_table, viewers[i], viewer_spread, came[i, head], 0.0, 0.0, 1.0,
            )  # fmt: skip
            if is_funnel == 1 and came[i, head] == 0:
                break


def _fresh(kernel: Callable[..., None]) -> Callable[..., None]:
    """Compile a kernel anew: one that is kept would hold the learner as it was then."""
    if find_spec("numba") is None:
        return kernel
    made: Callable[..., None] = import_module("numba").njit(error_model="numpy")(kernel)
    return made


def rows_per_s(work: Callable[[], object], count: int, rounds: int = 5) -> float:
    """Events in a second of CPU; the best round, as what others do on the machine only takes away."""
    work()
    took = []
    for _ in range(rounds):
        started = time.process_time_ns()
        work()
        took.append(time.process_time_ns() - started)
    return count * 1e9 / min(took)


def lines_per_s(requests: int, ads: int) -> tuple[float, float]:
    """Return requests with all that follows, and lines, in a second of CPU: as `contatto deliver` does."""
    market = Marketplace(1)
    for line in shop_lines(ads, ads // 5):
        market.take(line)
    rng = np.random.default_rng(2)
    chances = rng.random((requests, 4))
    lines, started = 0, time.process_time_ns()
    for number in range(requests):
        asked = request_line(number, step_us=200_000)
        chosen = market.take(asked)
        lines += 1
        group = getattr(chosen, "adgroup_id", None)
        if group is None or chances[number, 0] > 0.9:
            continue
        advertiser = f"a{int(group[1:]) % 20}"
        market.take(ViewLine(asked.ts, asked.request_id))
        lines += 1
        if chances[number, 1] < 0.05:
            market.take(ClickLine(asked.ts, asked.request_id))
            lines += 1
            if chances[number, 2] < 0.35:
                market.take(ConversationLine(asked.ts, asked.viewer_id, advertiser))
                lines += 1
                if chances[number, 3] < 0.35:
                    market.take(LeadLine(asked.ts, asked.viewer_id, advertiser, LineLeadSource.CHAT))
                    lines += 1
    cpu_s = (time.process_time_ns() - started) / 1e9
    return requests / cpu_s, lines / cpu_s
