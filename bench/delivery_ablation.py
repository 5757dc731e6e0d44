"""Gains from each part of delivery: the engine without it, over worlds of different structure.

For each part: the change of cost per lead against the whole engine in the same worlds with the same luck,
over all games and in each world, with the share of click farms and the calibration error. Seeds below 100
are for such work.
"""

import argparse
import gc
import math
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

from bench.delivery_parts.arms import NAMED
from bench.delivery_parts.without import PARTS, engine_without
from bench.harness import Report, options
from contatto.cli.deliver import load_kernels
from contatto.simulator.worlds.metrics import RunFigures
from contatto.simulator.worlds.simulation import Player, Size, compare, make_world

SAYS = "change of cost per lead when a part of the engine is missing"
WHOLE = "nothing"
WORLDS = ("default", "segments", "thresholds", "interests", "strangers", "hours", "variety")


class Trial(NamedTuple):
    """One world of one seed, played by the engine without one part."""

    part: str
    world: str
    seed: int
    size: Size


def main() -> None:
    """Play every world without every part, the whole engine first."""
    chosen = options(SAYS, add=_add)
    more = chosen.more
    size = Size(more.size or (Size.TINY if chosen.quick else Size.SMALL))
    seeds = more.seeds or ((0,) if chosen.quick else (0, 1))
    names = more.case or (WORLDS[:1] if chosen.quick else WORLDS)
    parts = more.part or (["calibration"] if chosen.quick else [part for part in PARTS if part != WHOLE])
    trials = [Trial(part, name, seed, size) for seed in seeds for part in (WHOLE, *parts) for name in names]
    games: defaultdict[str, dict[tuple[str, int], RunFigures]] = defaultdict(dict)
    with multiprocessing.get_context("spawn").Pool(more.jobs) as pool:
        for trial, figures in pool.imap(_play, trials):
            games[trial.part][trial.world, trial.seed] = figures
            _show_progress(trial, figures, games[WHOLE][trial.world, trial.seed])
    report = Report("delivery_ablation", SAYS, chosen)
    for part, played in games.items():
        report.add(
            "the whole engine" if part == WHOLE else f"without {part}", **_row(played, games[WHOLE], names)
        )
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", type=lambda text: tuple(map(int, text.split(","))), default=(), metavar="N,N"
    )
    parser.add_argument("--case", action="append", choices=NAMED, help="only this world; may come again")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may come again")
    parser.add_argument("--size", choices=list(Size), help="how much of a world is played")
    parser.add_argument("--jobs", type=int, default=1, help="how many worlds are played at once")


def _play(trial: Trial) -> tuple[Trial, RunFigures]:
    load_kernels()
    gc.disable()  # as `contatto deliver` does
    world, changes = NAMED[trial.world]
    with engine_without(trial.part) as settings:
        run = compare(make_world(world, trial.seed, trial.size, **changes), (Player.LEAD,), settings)
    return trial, run.figures[Player.LEAD]


def _show_progress(trial: Trial, figures: RunFigures, whole: RunFigures) -> None:
    print(
        f"{time.strftime('%H:%M:%S')} without {trial.part}: {trial.world}, seed {trial.seed}: "
        f"{figures.cost_per_lead / whole.cost_per_lead:.3f} "
        f"{figures.cost_per_lead_whole / whole.cost_per_lead_whole:.3f} of the usual cost per lead, "
        f"farms {figures.farm_share:.4f}, predicted over true {figures.calibration:.3f}",
        file=sys.stderr,
        flush=True,
    )


def _row(
    played: dict[tuple[str, int], RunFigures], whole: dict[tuple[str, int], RunFigures], names: Sequence[str]
) -> dict[str, object]:
    late = {game: each.cost_per_lead / whole[game].cost_per_lead - 1 for game, each in played.items()}
    always = [each.cost_per_lead_whole / whole[game].cost_per_lead_whole - 1 for game, each in played.items()]
    return {
        "games": len(played),
        "second half": _change(list(late.values())),
        "all days": _change(always),
        **{name: _change([each for game, each in late.items() if game[0] == name]) for name in names},
        "farms": f"{mean(each.farm_share for each in played.values()):.4f}",
        "calibration error": f"{mean(abs(math.log(each.calibration)) for each in played.values()):.3f}",
    }


def _change(values: list[float]) -> str:
    """Format a mean change in percent with its standard error."""
    error = f" ± {100 * stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):+.1f}{error}"


if __name__ == "__main__":
    main()
