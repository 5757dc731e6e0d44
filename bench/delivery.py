"""Delivery judged by worlds with known truth, row by row of the table of targets.

The engine plays each world with the goal Lead and with the goal Conversation. Beside it play chance, the
oracle of what can be seen (with both goals) and the full oracle, all with the same luck. Leads and spam are
means by true chances. Seeds 100 to 102 are for reporting, nothing is ever chosen by them.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from bench.delivery_parts.arms import cases, play_all
from bench.delivery_parts.targets import TABLES, bounds, spread
from bench.harness import Report, options
from contatto.simulator.worlds.choices import Size
from contatto.simulator.worlds.compare import Arm, Compared
from contatto.simulator.worlds.engine import Program

SAYS = "leads, cost, spam, pacing and calibration against known truth"
FRESH = (110, 111, 112)
DEVELOPMENT = (0, 1)
PLAIN = Path(__file__).parents[2] / "shared/tools/plain_learner.py"
"""A learner of 250 lines beside the project; another one is named by ``--plain``."""


def main() -> None:
    """Play everything, and print the tables."""
    chosen = options(SAYS, add=_add)
    more = chosen.more
    size = Size(more.size or (Size.TINY if chosen.quick else Size.FULL))
    seeds = more.seeds or (DEVELOPMENT[:1] if chosen.quick else FRESH)
    names = more.case or (["default"] if chosen.quick else list(TABLES))
    settings = {name: float(value) for name, _, value in (each.partition("=") for each in more.setting)}
    report = Report("delivery", SAYS, chosen)
    found: defaultdict[str, list[Compared]] = defaultdict(list)
    programs = (plain_learner(more.plain),) if more.plain.exists() else ()
    for case, compared in play_all(cases(names, seeds, size, settings, programs), more.jobs):
        found[case.case].append(compared)
    for name, runs in found.items():
        _add_targets(report, name, runs)
        _add_players(report, name, runs)
        if not programs:
            report.add(f"  {name}: plain", ours="left out", verdict=f"{more.plain} is missing")
    report.finish()
    if any(faults for runs in found.values() for run in runs for faults in run.faults.values()):
        raise SystemExit("A rule was broken; see the column faults.")


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=_numbers, default=(), metavar="N,N", help="seeds of the worlds")
    parser.add_argument(
        "--case", action="append", choices=list(TABLES), help="only this case; may come again"
    )
    parser.add_argument("--size", choices=list(Size), help="how much of a world is played")
    parser.add_argument("--jobs", type=int, default=1, help="how many worlds are played at once")
    parser.add_argument("--plain", type=Path, default=PLAIN, help="a plain learner to compare with")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the engine")


def plain_learner(script: Path) -> Program:
    """Return the plain learner as a player, run by this Python."""
    return Program("plain", (sys.executable, str(script)))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


def _add_targets(report: Report, name: str, runs: list[Compared]) -> None:
    seeds = ", ".join(str(run.seed) for run in runs)
    report.add(f"[b]{name}[/b], seeds {seeds}")
    for target in TABLES[name]:
        values = [target.figure(run) for run in runs]
        report.add(
            f"  {target.name}",
            prototype=target.prototype,
            **{"pass": bounds(target.passes), "hard goal": bounds(target.hard)},
            ours=spread(values),
            verdict=target.verdict(mean(values)),
        )


def _add_players(report: Report, name: str, runs: list[Compared]) -> None:
    """What each player reached, as means over the seeds."""
    limit = mean(run.figures[Arm.ORACLE_OBS].leads_last for run in runs)
    for player, reason in {player: text for run in runs for player, text in run.failures.items()}.items():
        report.add(f"  {name}: {player}", ours="failed", verdict=reason)
    for arm in runs[0].figures:
        if any(arm not in run.figures for run in runs):
            continue
        figures = [run.figures[arm] for run in runs]
        faults = [run.faults[arm] for run in runs if run.faults[arm]]
        speeds = [run.requests_per_s[arm] for run in runs if arm in run.requests_per_s]
        waits = [run.longest_wait_s[arm] for run in runs if arm in run.longest_wait_s]
        report.add(
            f"  {name}: {arm}",
            ours=f"{mean(each.leads_last for each in figures):,.0f} leads",
            verdict=f"{mean(each.leads_last for each in figures) / limit:.3f} of obs",
            **{
                "cost": f"{mean(each.cost_per_lead for each in figures):.3f}",
                "spam": f"{mean(each.spam_share for each in figures):.3f}",
                "use": f"{mean(each.budget_use for each in figures):.3f}",
                "req/s": f"{mean(speeds):,.0f}" if speeds else "",
                "longest wait": f"{max(waits):.3f} s" if waits else "",
                "faults": json.dumps(faults) if faults else 0,
            },
        )


if __name__ == "__main__":
    main()
