"""Predictions and choices of delivery on a log that stays the same, so that versions of it compare.

Two games of one seed differ by 7 % in cost per lead when anything changes, as other ads are shown. On one log
only predictions differ. A log of each world is recorded once, with more exploration than usual. Then it is
replayed: the engine predicts each view, and learns what the log says came of it. Of one in twelve requests,
those that it ranks highest in each ad group are valued by the best possible prediction.
"""

import argparse
import gc
import pickle
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.delivery_parts.arms import NAMED
from bench.harness import Report, options
from contatto.learning import columns as col
from contatto.learning.marketplace import Marketplace, UnusableLine, decide_request
from contatto.learning.model import AnyLine, Decision, RequestLine
from contatto.simulator.worlds.game import EnginePlayer, Game, Line
from contatto.simulator.worlds.model import STARTS_TS
from contatto.simulator.worlds.policies import Score, make_score
from contatto.simulator.worlds.simulation import Player, Size, make_world

SAYS = "choices and predictions of delivery on the same log for every version"
CASES = ("default", "segments", "thresholds", "interests", "strangers", "hours")
SHARES = (0.03, 0.1, 0.25)
"""Shares of the requests that an ad group could buy: those that are ranked highest."""
EVERY = 12
EXPLORING = {"explore": 0.02, "temperature": 0.06}
HEADS = ("click", "talk", "lead", "spam")

type Floats = NDArray[np.float64]


@dataclass
class Log:
    """Lines, with ads of requests and the best predictions for some; ``shown`` are true chances of views."""

    ads: list[str]
    groups: list[int]
    days: int
    lines: list[tuple[Line, str | None, NDArray[np.float32] | None]] = field(default_factory=list)
    shown: Floats = field(default_factory=lambda: np.zeros((0, len(HEADS))))


def record(case: str, seed: int, size: Size) -> Log:
    """Play a world with more exploration, and record it with the truth."""
    name, changes = NAMED[case]
    world = make_world(name, seed, size, **changes)
    engine = EnginePlayer(seed, settings=EXPLORING)
    log = Log([ad.id for ad in world.ads], [ad.group for ad in world.ads], world.days)
    rows = {viewer: row for row, viewer in enumerate(world.viewer_ids)}
    scores: dict[int, tuple[Score, Floats]] = {}
    requests = 0

    def answer(line: Line) -> Line | None:
        nonlocal requests
        decision, worth = engine.answer(line), None
        if line["type"] == "request":
            requests += 1
            day, row = map(int, line["request_id"][1:].split("-"))
            if requests % EVERY == 0 and day:
                if day not in scores:
                    scores.clear()
                    score = make_score(Player.ORACLE_OBS, world, day, game.past)
                    scores[day] = score, np.asarray(world.requests(day).shift, float)
                score, shifts = scores[day]
                viewer, may = np.array([rows[line["viewer_id"]]]), np.ones((1, len(world.ads)), np.bool_)
                worth = score(viewer, shifts[[row]], may, game.past)[0].astype(np.float32)
        log.lines.append((dict(line), decision["ad_id"] if decision and "ad_id" in decision else None, worth))
        return decision

    game = Game(world, answer, Player.LEAD.value)
    shown = game.play(lambda *_: None).shown
    log.shown = np.stack([getattr(shown, name) for name in HEADS], 1)
    return log


def replay(log: Log, seed: int) -> dict[str, float]:
    """Replay a log; return the value of choices, and errors of predictions, by half of the days."""
    marketplace, decoder = Marketplace(seed), msgspec.json.Decoder(AnyLine.__value__)
    groups, place_of = marketplace.market.groups, {ad: place for place, ad in enumerate(log.ads)}
    decided: dict[str, Decision] = {}
    predicted: list[tuple[float, ...]] = []
    ranked: list[tuple[bool, NDArray[np.float32], Floats]] = []
    halves: list[bool] = []
    for line, ad, worth in log.lines:
        if line["type"] == "report":
            continue
        message = decoder.decode(msgspec.json.encode(line))
        is_late = (message.ts - STARTS_TS) // col.DAY_US >= log.days // 2
        if not isinstance(message, RequestLine):
            if line["type"] == "view":
                found = decided.pop(message.request_id, None)
                chances = (np.nan,) * len(HEADS)
                if found is not None:
                    chances = (found.p_click, found.p_conversation, found.p_lead, found.p_spam)
                predicted.append(chances)
                halves.append(is_late)
            with suppress(UnusableLine):
                marketplace.take(message)
            continue
        message = msgspec.structs.replace(message, floor_micros=1)
        is_on = groups.ads[:, col.A_ON].copy()
        seen = marketplace.market.viewers.by_id.get(message.viewer_id)
        asked_at = marketplace.market.viewers.table[seen, col.V_REQUESTED_AT] if seen else 0.0
        groups.ads[:, col.A_ON] = 0.0
        if ad is not None:
            groups.ads[groups.ad_by_id[ad], col.A_ON] = 1.0
        decision = marketplace.take(message)
        groups.ads[:, col.A_ON] = is_on
        if isinstance(decision, Decision) and decision.ad_id is not None:
            decided[message.request_id] = decision
        if worth is not None:
            ranked.append((is_late, worth, _score_ads(marketplace, message, asked_at, place_of)))
    figures = _value(ranked, np.array(log.groups))
    figures["views in the log that could not be shown"] = float(np.isnan(predicted).any(1).mean())
    return figures | _errors(np.array(predicted), log.shown, np.array(halves))


def _score_ads(
    marketplace: Marketplace, line: RequestLine, asked_at: float, place_of: dict[str, int]
) -> Floats:
    """Return the scores of all ads for a request that was just decided; NaN for those that may not run."""
    market, scores = marketplace.market, np.full(len(place_of), np.nan)
    row = market.viewers.by_id.get(line.viewer_id, 0)
    now = market.viewers.table[row, col.V_REQUESTED_AT]
    market.viewers.table[row, col.V_REQUESTED_AT] = max(asked_at, 0.0)
    market.groups.able[:] = -1
    impression = decide_request(market, line, lambda _: None)
    if impression is not None:
        market.snapshots.give_back(impression)
    market.viewers.table[row, col.V_REQUESTED_AT] = now
    for number, ad in enumerate(market.groups.able.tolist()):
        if ad < 0:
            break
        scores[place_of[market.groups.ad_ids[ad]]] = market.groups.raws[number, col.R_SCORE]
    return scores


def _value(ranked: Iterable[tuple[bool, Any, Any]], group_of: NDArray[np.int64]) -> dict[str, float]:
    is_late, worth, scores = (np.array(column) for column in zip(*ranked, strict=True))
    figures = {}
    for name, half in (("first", ~is_late), ("second", is_late)):
        shares = []
        for number in np.unique(group_of):
            of_group = np.ix_(half, group_of == number)
            is_able = ~np.isnan(scores[of_group]).any(1)
            values, best = scores[of_group][is_able], worth[of_group][is_able]
            if len(values) < 1 / min(SHARES):
                continue
            order, chosen = np.argsort(-values.max(1), kind="stable"), values.argmax(1)
            for share in SHARES:
                top = order[: max(round(share * len(values)), 1)]
                possible = np.sort(best.max(1))[-len(top) :].mean()
                shares.append(best[top, chosen[top]].mean() / possible)
        figures[f"value, {name} half"] = float(np.mean(shares)) if shares else float("nan")
    return figures


def _errors(predicted: Floats, true: Floats, is_late: NDArray[np.bool_]) -> dict[str, float]:
    """Return mean Kullback-Leibler divergences in thousandths; for leads, spam is no lead."""
    figures, (click, talk, lead, spam) = {}, true[: len(predicted)].T
    weights = np.ones(len(click)), click, click * talk, click * talk
    for head, name in enumerate(HEADS):
        p = predicted[:, head].clip(1e-6, 1 - 1e-6)
        t = (lead * (1 - spam) if name == "lead" else true[: len(p), head]).clip(1e-6, 1 - 1e-6)
        error = 1_000 * (t * np.log(t / p) + (1 - t) * np.log((1 - t) / (1 - p)))
        for half, rows in (("first", ~is_late), ("second", is_late)):
            known = rows & ~np.isnan(error)
            figures[f"{name} error, {half} half"] = float(
                np.average(error[known], weights=weights[head][known])
            )
    return figures


def main() -> None:
    """Record what is missing, and replay every log."""
    chosen = options(SAYS, add=_add)
    more, report = chosen.more, Report("delivery_log", SAYS, chosen)
    size = Size.TINY if chosen.quick else Size.SMALL
    gc.disable()  # as `contatto deliver` does
    with tempfile.TemporaryDirectory() as scratch:
        for case in more.case or (["interests"] if chosen.quick else CASES):
            path = (more.log or Path(scratch)) / f"{case}-{more.seed}-{size}.pickle"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(pickle.dumps(record(case, more.seed, size)))
            log: Log = pickle.loads(path.read_bytes())  # noqa: S301 - this program wrote it
            figures = replay(log, more.seed)
            report.add(case, **{name: f"{value:.3f}" for name, value in figures.items()})
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", choices=CASES, help="only this world; may come again")
    parser.add_argument("--seed", type=int, default=84, help="seed of the worlds (below 100)")
    parser.add_argument(
        "--log", type=Path, metavar="FOLDER", help="logs to replay; missing ones are recorded"
    )


if __name__ == "__main__":
    main()
