"""Delivery's learner, its off-policy estimators and the scorer of leads on real data, held to bars of others.

The data is no part of the project: it is read from a folder beside it, and what is missing there is said and
left out. Bars are near LightGBM (bank), TF-IDF with logistic regression (spam), and the definition (bandit).
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from bench.harness import Report, options
from bench.learning_parts import bandit, bank, bank_leads, spam

SAYS: Final = "the learner and the estimators on real data"
ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT.parent / "shared" / "data"
EXACT: Final = 1e-9
FOLDS_BAR: Final = "AUC >= .800, log loss <= .272"
FOLDS_HARD: Final = "AUC >= .806, log loss <= .2690"
DATE_BARS: Final = (
    (1, "log loss <= .305", "log loss <= .298, worst >= .90"),
    (bank.LATE, "log loss <= .330", "log loss <= .310, worst >= .70"),
)
"""Delay in calls, and the bars to reach; worst is of the expected by the actual, or the reverse."""


def main() -> None:
    """Play what data there is, and print one table."""
    chosen = options(SAYS, add=_add)
    report, folder = Report("learning", SAYS, chosen), chosen.more.files
    parts = (
        ((bank.FILE,), _add_bank),
        ((spam.FILE,), _add_spam),
        ((bandit.RANDOM, bandit.THOMPSON), _add_bandit),
    )
    for files, add in parts:
        missing = [name for name in files if not (folder / name).exists()]
        if missing:
            report.add(f"skipped: {', '.join(missing)} is not in the folder of --files")
        else:
            add(report, folder)
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=Path, default=DATA, metavar="DIR", help="where the data is")


def _add_bank(report: Report, folder: Path) -> None:
    rows, came = bank.read_bank(folder)
    if report.options.quick:
        rows, came = rows[:12_000], came[:12_000]
    for passes, name in ((2, "two passes"), (8, "eight passes")):
        figures = bank.five_folds(rows, came, passes)
        report.add(f"bank, five folds, {name}", **_shown(figures), bar=FOLDS_BAR, hard=FOLDS_HARD)
    described, _ = bank_leads.describe_bank(folder)
    described = described[: len(came)]
    figures = bank_leads.five_folds(described, came)
    report.add("bank, five folds, scorer of leads", **_shown(figures), bar=FOLDS_BAR, hard=FOLDS_HARD)
    report.add("bank, the mean alone", **_shown({"log loss": _mean_loss(came)}))
    for late, bar, hard in DATE_BARS:
        for calibrates in (False, True):
            name = f"bank by date, labels {late:,} calls late" + ("" if calibrates else ", no calibration")
            figures = bank.in_date_order(rows, came, late, calibrates=calibrates)
            report.add(name, **_shown(figures), bar=bar, hard=hard)
        for how, figures in bank_leads.in_date_order(described, came, late).items():
            name = f"bank by date, labels {late:,} calls late, scorer of leads{how}"
            report.add(name, **_shown(figures), bar=bar, hard=hard)


def _add_spam(report: Report, folder: Path) -> None:
    texts, came = spam.read_spam(folder)
    if report.options.quick:
        texts, came = texts[:1_500], came[:1_500]
    figures = spam.grouped_folds(texts, came)
    report.add("spam, grouped folds", **_shown(figures), bar="AUC >= .993, recall >= .90")


def _add_bandit(report: Report, folder: Path) -> None:
    drawn, ours = bandit.read_log(folder / bandit.RANDOM), bandit.read_log(folder / bandit.THOMPSON)
    target, rates = bandit.shares_of(ours), bandit.rates_of(drawn)
    found, plain = bandit.ours(drawn, target, rates), bandit.plain(drawn, target, rates)
    truth = float(ours.click.mean())
    for name, value in found.items():
        apart = abs(value - plain[name])
        report.add(
            f"bandit, {name}",
            value=f"{value:.6f}",
            truth=f"{truth:.6f}",
            apart=f"{apart:.1e}",
            bar=f"apart <= {EXACT:g}",
        )
        if apart > EXACT:
            raise SystemExit(f"{name} is not what its definition says.")


def _mean_loss(came: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    rate = float(came.mean())
    return float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))


def _shown(figures: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in figures.items()}


if __name__ == "__main__":
    main()
