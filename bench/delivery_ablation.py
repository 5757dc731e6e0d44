"""Gains from each part of delivery: the engine without it, over worlds of different structure.

For each part: leads of the last days and of all, cost per lead, spam share, calibration and pacing error,
beside those of the whole engine, in the same worlds with the same luck. Seeds below 100 are for such work.
"""

import argparse
import sys
import time
from statistics import mean, stdev

from bench.delivery_parts.arms import NAMED
from bench.delivery_parts.without import PARTS, engine_without
from bench.harness import Report, options
from contatto.simulator.worlds.simulation import Player, RunResults, Size, compare, make_world

SAYS = "the engine without each of its parts"
WHOLE = "nothing"


def main() -> None:
    """Play every world without every part, the whole engine first."""
    chosen = options(SAYS, add=_add)
    more = chosen.more
    size = Size(more.size or (Size.TINY if chosen.quick else Size.SMALL))
    seeds = more.seeds or ((0,) if chosen.quick else (0, 1))
    parts = more.part or ([WHOLE, "calibration"] if chosen.quick else list(PARTS))
    names = more.case or (["default"] if chosen.quick else ["default", "segments", "thresholds"])
    report = Report("delivery_ablation", SAYS, chosen)
    for name in names:
        _add_world(report, name, [WHOLE, *(part for part in parts if part != WHOLE)], seeds, size)
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", type=lambda text: tuple(map(int, text.split(","))), default=(), metavar="N,N"
    )
    parser.add_argument(
        "--case", action="append", choices=list(NAMED), help="only this world; may come again"
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; may come again")
    parser.add_argument("--size", choices=list(Size), help="how much of a world is played")


def _add_world(report: Report, name: str, parts: list[str], seeds: tuple[int, ...], size: Size) -> None:
    limits = [_play(name, seed, size, Player.ORACLE_OBS, {}) for seed in seeds]
    whole: list[RunResults] = []
    for part in parts:
        started = time.perf_counter()
        with engine_without(part) as settings:
            runs = [_play(name, seed, size, Player.LEAD, settings) for seed in seeds]
        whole = whole or runs
        report.add(
            f"{name}: " + ("the whole engine" if part == WHOLE else f"without {part}"),
            **_row(runs, whole, limits),
        )
        took = time.perf_counter() - started
        print(f"{report.rows[-1]} ({took:.0f} s)", file=sys.stderr, flush=True)


def _row(runs: list[RunResults], whole: list[RunResults], limits: list[RunResults]) -> dict[str, object]:
    ours, usual = ([run.figures[Player.LEAD] for run in several] for several in (runs, whole))
    best = [run.figures[Player.ORACLE_OBS] for run in limits]
    change = [each.cost_per_lead / own.cost_per_lead - 1 for each, own in zip(ours, usual, strict=True)]
    return {
        "of oracle_obs": f"{mean(a.leads_last / b.leads_last for a, b in zip(ours, best, strict=True)):.3f}",
        "all days": f"{mean(a.leads / b.leads for a, b in zip(ours, best, strict=True)):.3f}",
        "cost per lead": f"{mean(each.cost_per_lead for each in ours):.3f}",
        "change": "" if runs is whole else _change(change),
        "spam share": f"{mean(each.spam_share for each in ours):.3f}",
        "predicted / true": f"{mean(each.calibration for each in ours):.2f}",
        "pacing error": f"{mean(each.pacing_error for each in ours):.4f}",
        "starved": sum(len(each.starved) for each in ours),
        "faults": sum(sum(run.faults[Player.LEAD].values()) for run in runs),
    }


def _change(values: list[float]) -> str:
    """Format a mean change in percent, and how far the seeds lie apart."""
    return f"{100 * mean(values):+.1f} %" + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


def _play(name: str, seed: int, size: Size, arm: Player, settings: dict[str, float]) -> RunResults:
    world, changes = NAMED[name]
    return compare(make_world(world, seed, size, **changes), (arm,), settings)


if __name__ == "__main__":
    main()
