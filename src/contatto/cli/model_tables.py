"""Tables of a model for the operator: predictions beside what happened, and the factors of the model."""

from rich.table import Table

from contatto.delivery.actions.training import SHOWN_DAYS, list_curves
from contatto.delivery.model import Relearning
from contatto.delivery.store.models import find_influences, find_relearning
from contatto.kit.db.tx import Tx
from contatto.leads.model import LeadModel
from contatto.leads.store.jobs import find_lead_model
from contatto.learning.model import Curve, Influence, ValueOdds


def tell_model(tx: Tx, business_id: str) -> list[Table]:
    """The tables of a business's newest model, and of what scores its leads; no empty ones."""
    curves, known = list_curves(tx, business_id, None), find_influences(tx, business_id)
    found = [_summary(curves), *(_bins(curve) for curve in curves)] if curves else []
    if known is not None:
        found.append(_influences(known.found))
    again = find_relearning(tx, business_id)
    if again is not None:
        found.append(_relearned(again))
    scorer = find_lead_model(tx, business_id)
    if scorer is not None:
        found.append(_scores(scorer))
    return found


def _summary(curves: list[Curve]) -> Table:
    table = Table(
        "step", "cases", "actual", "predicted", "log loss", "of the base rate's", "calibration error",
        title=f"Predictions of the last {SHOWN_DAYS} days",
    )  # fmt: skip
    for curve in curves:
        share = curve.loss / curve.of_rate if curve.of_rate else float("nan")
        table.add_row(
            curve.question.value, f"{curve.asked:,}", f"{curve.came:,}", f"{curve.expected:,.1f}",
            f"{curve.loss:.4f}", f"{share:.3f}", f"{curve.distance:.4f}",
        )  # fmt: skip
    return table


def _bins(curve: Curve) -> Table:
    table = Table("predicted", "actual", "95 % interval", "cases", title=curve.question.value.capitalize())
    for each in curve.bins:
        table.add_row(
            f"{100 * each.told:.2f} %", f"{100 * each.share:.2f} %",
            f"{100 * each.low:.2f} to {100 * each.high:.2f} %", f"{each.asked:,}",
        )  # fmt: skip
    return table


def _influences(found: list[Influence]) -> Table:
    table = Table("step", "factor", "odds ratio", "most likely with", "least likely with", title="Factors")
    for influence in found:
        name = influence.name
        what = f"{influence.source.value} {name}".strip()
        table.add_row(
            influence.question.value,
            what,
            f"{influence.times:.2f}",
            _said(influence.most),
            _said(influence.least),
        )
    return table


def _said(said: ValueOdds | None) -> str:
    return "" if said is None else f"{said.value} ({said.times:.2f})"


def _relearned(again: Relearning) -> Table:
    stage = again.stage.value.replace("_", " ")
    title = f"Nightly training: {stage}, started {again.started_at:%Y-%m-%d %H:%M}"
    table = Table("step", "cases", "actual", "log loss", "current model", title=title)
    for each in again.compared:
        table.add_row(
            each.question, f"{each.asked:,}", f"{each.came:,}", f"{each.loss:.4f}", f"{each.served:.4f}"
        )  # fmt: skip
    return table


def _scores(model: LeadModel) -> Table:
    table = Table(
        "learned", "leads", "good", "trees' share", "log loss", "of the rate's", title="Lead scores"
    )
    held = model.held
    table.add_row(
        f"{model.learned_at:%Y-%m-%d %H:%M}", f"{model.outcomes:,}", f"{held.good:,}" if held else "",
        f"{model.share:.0%}", f"{model.loss:.4f}", f"{model.loss / held.of_rate:.3f}" if held else "",
    )  # fmt: skip
    return table
