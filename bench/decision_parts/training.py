"""Observations that training takes in a second of one core, and lines with all that becomes of the ads."""

import time
from typing import NamedTuple

import numpy as np

from bench.decision_parts.scoring import request_line, shop_lines
from contatto.learning.batch_learning import MOST, list_labelled, no_curves, observe, settle_observations
from contatto.learning.marketplace import Marketplace
from contatto.learning.model import ClickLine, ConversationLine, LeadLine, LineLeadSource, ViewLine
from contatto.learning.outcomes import finish_work


class Rates(NamedTuple):
    """Requests with all that follows, lines, and observations of a training, in a second of CPU."""

    requests: float
    lines: float
    observations: float


def measure_rates(requests: int, ads: int) -> Rates:
    """Take lines as `contatto deliver` does, and then fit the weights once to all observations."""
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
    state = market.market
    finish_work(state)
    observations, curves = observe(state, list_labelled(state, MOST)), no_curves(state.learned)
    order = np.random.default_rng(3).permutation(len(observations.samples))
    started = time.process_time_ns()
    settle_observations(state, observations, state.snapshots, order, curves)
    trained_s = (time.process_time_ns() - started) / 1e9
    return Rates(requests / cpu_s, lines / cpu_s, len(order) / trained_s)
