"""Fresh starts of the demo: what each goal brought in the history of ten seeds, and of one with --quick.

Nothing but the seed differs between two starts. Target: a lead costs less with the goal Lead in nine of ten
starts, both goals have 200 leads, and all ad groups have learned.
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.harness import Report, measured, options
from contatto.cli.demo import DAYS, PEOPLE, SEED
from contatto.cli.installation import bring_up_to_date
from contatto.kit.db.database import open_storage
from contatto.kit.db.tx import FixedClock
from contatto.kit.settings import Settings
from contatto.learning.model import Phase
from contatto.measurement.model import Goal
from contatto.simulator.history import GoalResult, HistoryStage, make_history
from contatto.simulator.traffic import DAY_S
from contatto.simulator.world import plan_people
from contatto.wiring import PORTS, install

SAYS: Final = "history of the demo; goal: a lead costs less with the goal Lead in 9 of 10 starts"
SEEDS: Final = 10
STARTS_AT: Final = datetime(2026, 11, 23, 16, tzinfo=UTC)


def main() -> None:
    chosen = options(SAYS)
    report = Report("demo", SAYS, chosen)
    seeds = range(SEED, SEED + chosen.size(SEEDS, 1))
    cheaper = 0
    for seed in seeds:
        with measured() as cost:
            results = play_start(seed)
        lead, talk = results[Goal.LEAD], results[Goal.CONVERSATION]
        phases = lead.phases + talk.phases
        ratio = (lead.spend_micros * talk.leads) / max(lead.leads * talk.spend_micros, 1)
        cheaper += ratio < 1.0
        report.add(
            f"seed {seed}",
            lead_leads=lead.leads,
            conversation_leads=talk.leads,
            cost_ratio=round(ratio, 2),
            predicted_over_true=round(
                (lead.predicted_leads + talk.predicted_leads) / max(lead.leads + talk.leads, 1), 2
            ),
            learned=f"{sum(phase is Phase.LEARNED for phase in phases)} of {len(phases)}",
            cpu_s=round(cost.cpu_s),
            wall_s=round(cost.wall_s),
        )
    report.add("goal Lead cheaper", cost_ratio=f"{cheaper} of {len(seeds)}")
    report.finish()


def play_start(seed: int) -> dict[Goal, GoalResult]:
    """Play the history of one seed in an empty folder."""
    people = plan_people(seed, PEOPLE * (DAYS + 1), (DAYS + 1) * DAY_S)
    clock, until = FixedClock(STARTS_AT), STARTS_AT + timedelta(days=DAYS)
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        settings = Settings(data_dir=Path(folder), database_url="", worker="in_process")
        db = open_storage(settings, clock, PORTS)
        try:
            bring_up_to_date(db)
            made_history = make_history(HistoryStage(db, clock, install(settings)), seed, people, until)
        finally:
            db.close()
    return {result.goal: result for result in made_history.results}


if __name__ == "__main__":
    main()
