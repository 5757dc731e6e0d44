"""Delivery judged in worlds of different structure, beside a plain learner and the best possible.

The engine and the plain learner play each world with the goals Lead and Conversation. Random choice and the
oracles play with the same luck. The best possible knows all that follows from what a request shows. Leads,
conversations and spam are means by true chances. Reports take their own seeds.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

from bench.delivery_parts.arms import NAMED, USUAL, add_game_options, cases, play_all
from bench.delivery_parts.targets import (
    MEAN_LIMIT,
    PLAIN,
    ROWS,
    TARGET_COST,
    present_mean,
    show,
    show_bounds,
)
from bench.harness import Report, options
from contatto.simulator.worlds.game import Program
from contatto.simulator.worlds.simulation import (
    BUILDING_SEEDS,
    ENGINES,
    REPORTING_SEEDS,
    RunResults,
    Size,
    make_world,
)

SAYS = "delivery beside a plain learner and the best possible, in worlds with known truth"
PLAIN_LEARNER = Path(__file__).parents[2] / "shared/tools/plain_learner.py"
"""A learner of 250 lines beside the project; ``--plain`` names another one."""


def main() -> None:
    """Play everything, and print the tables."""
    chosen = options(SAYS, add=_add)
    more = chosen.more
    size = Size(more.size or (Size.TINY if chosen.quick else Size.SMALL))
    seeds = more.seeds or (BUILDING_SEEDS[:1] if chosen.quick else REPORTING_SEEDS)
    names = more.case or (["interests"] if chosen.quick else USUAL)
    settings = {name: float(value) for name, _, value in (text.partition("=") for text in more.setting)}
    programs = (plain_learner(more.plain),) if more.plain.exists() else ()
    worlds: defaultdict[str, list[RunResults]] = defaultdict(list)
    for case, compared in play_all(cases(names, seeds, size, settings, programs), more.jobs):
        worlds[case.case].append(compared)
    report = Report("delivery", SAYS, chosen)
    for name, runs in worlds.items():
        _add_world(report, name, runs)
        _warn(name, runs)
    _add_mean(report, worlds)
    if not programs:
        report.add(f"the plain learner is left out: {more.plain} is missing")
    report.finish()
    if any(run.faults.get(arm) for runs in worlds.values() for run in runs for arm in ENGINES):
        raise SystemExit("The engine broke a rule; see the messages above.")


def _add(parser: argparse.ArgumentParser) -> None:
    add_game_options(parser)
    parser.add_argument("--plain", type=Path, default=PLAIN_LEARNER, help="a plain learner to compare with")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the engine")


def plain_learner(script: Path) -> Program:
    """Return the plain learner as a player, run by this Python."""
    return Program(PLAIN, (sys.executable, str(script)))


def _add_world(report: Report, name: str, runs: list[RunResults]) -> None:
    """Add the rows of one world."""
    report.add(f"[b]{name}[/b], seeds {', '.join(str(run.seed) for run in runs)}")
    tires = make_world(NAMED[name][0], 0, Size.TINY).nature.tires
    for row in TARGET_COST if name == "target cost" else ROWS:
        if row.only_tiring and not tires:
            continue
        report.add(
            f"  {row.name}",
            least=show_bounds(row.least),
            aim=show_bounds(row.aim),
            judged=show([row.judged(run) for run in runs]) if row.over else "",
            verdict=row.verdict(runs),
            Contatto=show([row.value(run, "ours") for run in runs]),
            plain=show([row.value(run, PLAIN) for run in runs]),
            random=show([row.value(run, "random") for run in runs]),
            **{"best possible": show([row.value(run, "best") for run in runs])},
        )


def _warn(name: str, runs: list[RunResults]) -> None:
    """Write the failures of programs and the faults of all players to standard error."""
    for run in runs:
        for player, reason in run.failures.items():
            print(f"{name}, seed {run.seed}: {player} failed: {reason}", file=sys.stderr)
        for player, faults in run.faults.items():
            if faults:
                print(f"{name}, seed {run.seed}: {player} broke rules: {json.dumps(faults)}", file=sys.stderr)


def _add_mean(report: Report, worlds: dict[str, list[RunResults]]) -> None:
    """Add the mean of all worlds of cost per lead over the plain learner's."""
    costs = [row for row in ROWS if row.name.startswith("cost per lead")]
    for row in costs:
        ratios = [
            present_mean([row.judged(run) for run in runs])
            for name, runs in worlds.items()
            if name != "target cost"
        ]
        value = present_mean(ratios)
        verdict = "-" if math.isnan(value) else "least" if value <= MEAN_LIMIT else "SHORT"
        bound = show_bounds((0, MEAN_LIMIT))
        report.add(f"mean of worlds: {row.name}", least=bound, judged=show([value]), verdict=verdict)


if __name__ == "__main__":
    main()
