"""Gains from each part of delivery: the engine without it, over worlds of different structure.

For each part: the change of cost per lead against the whole engine in the same worlds with the same luck,
over all games and in each world, with the share of click farms and the calibration error. Seeds below 100
are for such work.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

from bench.delivery_parts.arms import USUAL, Case, add_game_options, cases, play_all
from bench.delivery_parts.without import PARTS, WHOLE
from bench.harness import Report, options
from contatto.simulator.worlds.metrics import RunFigures
from contatto.simulator.worlds.simulation import Player, Size

SAYS = "change of cost per lead when a part of the engine is missing"
WORLDS = tuple(name for name in USUAL if name != "target cost")


def main() -> None:
    """Play every world without every part, the whole engine first."""
    chosen = options(SAYS, add=_add)
    more = chosen.more
    size = Size(more.size or (Size.TINY if chosen.quick else Size.SMALL))
    seeds = more.seeds or ((0,) if chosen.quick else (0, 1))
    names = more.case or (WORLDS[:1] if chosen.quick else WORLDS)
    parts = [WHOLE, *(more.part or (["calibration"] if chosen.quick else PARTS))]
    trials = [
        replace(case, arms=(Player.LEAD,), without=part)
        for seed in seeds
        for part in dict.fromkeys(parts)
        for case in cases(names, (seed,), size, {})
    ]
    games: defaultdict[str, dict[tuple[str, int], RunFigures]] = defaultdict(dict)
    for trial, compared in play_all(trials, more.jobs):
        figures = compared.figures[Player.LEAD]
        games[trial.without][trial.case, trial.seed] = figures
        _show_progress(trial, figures, games[WHOLE][trial.case, trial.seed])
    report = Report("delivery_ablation", SAYS, chosen)
    for part, played in games.items():
        report.add(
            "the whole engine" if part == WHOLE else f"without {part}", **_row(played, games[WHOLE], names)
        )
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    add_game_options(parser)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; may come again")


def _show_progress(trial: Case, figures: RunFigures, whole: RunFigures) -> None:
    print(
        f"without {trial.without}: {trial.case}, seed {trial.seed}: "
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
