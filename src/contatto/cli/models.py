"""The operator's commands for what delivery learned: list, show, evaluate, train, relearn, roll back."""

from typing import Annotated

import typer
from rich.table import Table

from contatto.accounts.model import Business
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.cli.installation import open_whole
from contatto.cli.model_tables import tell_model
from contatto.delivery.actions.relearning import (
    Held,
    Span,
    judge_files,
    prepare_relearning,
    publish_relearned,
    relearn_files,
)
from contatto.delivery.actions.results import Evaluation, evaluate_log
from contatto.delivery.actions.training import Trainer, roll_back_model
from contatto.delivery.engines import Engine, computing_on
from contatto.delivery.store import models
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import from_micros, micros
from contatto.learning.batch_learning import Weights, weights_of
from contatto.learning.evaluation import Value
from contatto.learning.model import ModelVersion
from contatto.measurement.engines.staging import EngineFailed

commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("list")
def list_command(business: Of = "") -> None:
    """Show the models that were published, newest first."""
    found = carry_out(lambda tx: models.list_models(tx, find_one_business(tx, business).id))
    if found:
        print_table(_table_of(found))
    else:
        out.print("Nothing is learned yet.")


@commands.command("show")
def show_command(
    version: Annotated[int, typer.Argument(help="Number of the model; by default the newest.")] = 0,
    business: Of = "",
) -> None:
    """Show a model: how far ad groups have learned, what was foretold and came, and what it goes by."""

    def work(tx: Tx) -> tuple[ModelVersion | None, bool, list[Table]]:
        one_business = find_one_business(tx, business)
        wanted = version or models.find_newest_version(tx, one_business.id)
        of = next(
            (model for model in models.list_models(tx, one_business.id) if model.version == wanted), None
        )
        table = Table("ad group", "phase", "conversions", "views", "leads", "predicted")
        for state in models.list_states(tx, one_business.id):
            table.add_row(
                str(state.number), state.phase.value, f"{state.earned} of {state.needed}",
                f"{state.views:,}", f"{state.leads:,}", f"{state.predicted_leads:.1f}",
            )  # fmt: skip
        return (
            of,
            models.load_model(tx, one_business.id, wanted) is not None,
            [table, *tell_model(tx, one_business.id)],
        )

    of, is_whole, tables = carry_out(work)
    if of is None:
        out.print("There is no such model.")
        raise typer.Exit(1)
    gone = "damaged, so the one before it serves" if of.has_blob else "not kept any more"
    whole = "whole" if is_whole else gone
    out.print(f"Model {of.version} ({of.origin}), learned through entry {of.through:,}: {whole}.")
    out.print(f"{of.size:,} bytes, SHA-256 {of.sha256}.")
    out.print("Ad groups, estimates and what these go by, as they are now:")
    for table in tables:
        print_table(table)


@commands.command("rollback")
def rollback_command(
    version: Annotated[int, typer.Argument(help="Number of the model to go back to.")], business: Of = ""
) -> None:
    """Go back to an earlier model. What came since then is not learned again."""

    def work(tx: Tx) -> ModelVersion:
        one_business = find_one_business(tx, business)
        model_version = roll_back_model(tx, one_business.id, version)
        record_command(tx, one_business, "model rollback", f"model {version}")
        return model_version

    made = carry_out(work)
    out.print(f"Model {made.version} is model {version} again. Servers take it within seconds.")


@commands.command("evaluate")
def evaluate_command(
    version: Annotated[
        int,
        typer.Argument(help="Number of a model, to see what it would have chosen; by default the newest."),
    ] = 0,
    days: Annotated[int, typer.Option(help="So many days of decisions are judged.", min=1)] = 14,
    wait_days: Annotated[
        int, typer.Option(help="Newer decisions are left out: what comes of them may still come.", min=0)
    ] = 3,
    business: Of = "",
) -> None:
    """Judge estimates by what came, and what a model would have earned instead (IPS, SNIPS, DR)."""

    def work(tx: Tx) -> tuple[int, Evaluation | None]:
        one_business = find_one_business(tx, business)
        until = micros(tx.now) - wait_days * models.DAY_US
        wanted = version or models.find_newest_version(tx, one_business.id)
        return wanted, evaluate_log(tx, one_business.id, until - days * models.DAY_US, until, wanted)

    wanted, found = carry_out(work)
    if found is None:
        out.print("There is no such model, or it is not kept any more.")
        raise typer.Exit(1)
    out.print(f"{found.decisions:,} decisions. Estimates, as they were told at the time:")
    print_table(_judged_table(found))
    if found.choices:
        out.print(
            f"What a thousand decisions bring if model {wanted} chooses, with standard errors;"
            f" {found.effective:,.0f} decisions speak for it:"
        )
        print_table(_choices_table(found))


def _judged_table(found: Evaluation) -> Table:
    table = Table(
        "question", "asked", "came", "expected / came", "log loss", "of the mean's", "calibration error"
    )
    for name, each in found.judged.items():
        table.add_row(
            name, f"{each.count:,}", f"{each.came:,.0f}", f"{each.ratio:.3f}", f"{each.log_loss:.4f}",
            f"{each.normalized:.3f}", f"{each.calibration_error:.4f}",
        )  # fmt: skip
    return table


def _choices_table(found: Evaluation) -> Table:
    table = Table("of", "as it was", "IPS", "SNIPS", "DR")
    for stage, each in found.choices.items():
        table.add_row(
            stage, *(_thousand(value) for value in (each.logged, each.inverse, each.normalized, each.robust))
        )
    return table


def _thousand(value: Value) -> str:
    return f"{1_000 * value.mean:.2f} ± {1_000 * value.error:.2f}"


@commands.command("train")
def train_command() -> None:
    """Learn all that is waiting, of every business, and publish it. The worker does so by itself."""
    storage = open_whole()
    try:
        trainer, rounds = Trainer(storage.settings.decision_log_days, is_hasty=True), 0
        trainer.start_over()
        while (keep := storage.db.read_now(trainer.read_next)) is not None:
            storage.db.write_now(keep)
            rounds += 1
    finally:
        storage.db.close()
    out.print(f"Learned in {rounds} {'step' if rounds == 1 else 'steps'}." if rounds else "Nothing waits.")


@commands.command("relearn")
def relearn_command(
    engine: Annotated[Engine, typer.Option(help="Where examples are joined.")] = Engine.DUCKDB,
    connection: Annotated[
        str, typer.Option(help="The Spark master; by default all cores of this machine.")
    ] = "",
    days: Annotated[int, typer.Option(help="So many days of files are learned from.", min=1)] = 90,
    hold_out_days: Annotated[
        int,
        typer.Option(help="Judge by so many of the last days, learn without them, publish nothing.", min=0),
    ] = 0,
    wait_days: Annotated[
        int, typer.Option(help="So long is waited for what comes of those that are judged.", min=0)
    ] = 3,
    business: Of = "",
) -> None:
    """Learn all sealed files of decisions again, and publish the new weights.

    For logs that are longer than what the worker keeps in memory; each night is often enough. The engine
    joins the examples, then this machine learns from them.
    """
    storage = open_whole()
    try:
        of = storage.db.read_now(lambda tx: find_one_business(tx, business))
        prepared = storage.db.read_now(lambda tx: prepare_relearning(tx, of.id, days))
        if prepared is None:
            out.print("Nothing to learn again: there is no model yet, or no sealed file of decisions.")
            raise typer.Exit(1)
        now = storage.db.read_now(lambda tx: micros(tx.now))
        until = now - wait_days * models.DAY_US
        since = until - hold_out_days * models.DAY_US
        with computing_on(engine, connection) as computing:
            as_of = since if hold_out_days else now
            relearned = relearn_files(computing, prepared.sources, prepared.market, as_of)
            out.print(f"{relearned.examples:,} views of ads, learned in {relearned.passes} passes.")
            if hold_out_days:
                span = Span(since, until, now)
                comparison = judge_files(computing, prepared.sources, prepared.market, span)
                out.print("Decisions that were not learned, by these weights and as was told at the time:")
                print_table(_held_table(comparison))
                return
        weights = weights_of(prepared.market)
        model = storage.db.write_now(lambda tx: _publish(tx, of, weights))
        out.print(f"Model {model.version} is published. Servers take it within seconds.")
    except (EngineFailed, OSError, Refused, ValueError) as error:
        out.print(error.detail if isinstance(error, Refused) else str(error))
        raise typer.Exit(1) from error
    finally:
        storage.db.close()


def _publish(tx: Tx, of: Business, weights: Weights) -> ModelVersion:
    model_version = publish_relearned(tx, of.id, weights)
    record_command(tx, of, "model relearn", f"model {model_version.version}")
    return model_version


def _held_table(held: Held) -> Table:
    table = Table("question", "asked", "log loss", "told then", "expected / came", "told then")
    for name, each in held.estimated.items():
        told = held.told[name]
        table.add_row(
            name, f"{each.count:,}", f"{each.log_loss:.4f}", f"{told.log_loss:.4f}", f"{each.ratio:.3f}",
            f"{told.ratio:.3f}",
        )  # fmt: skip
    return table


def _table_of(found: list[ModelVersion]) -> Table:
    table = Table("model", "made", "from", "through entry", "entries", "bytes", "kept")
    for model_version in found:
        made = from_micros(model_version.made_at).strftime("%Y-%m-%d %H:%M:%S")
        kept = "yes" if model_version.has_blob else "no"
        table.add_row(
            str(model_version.version),
            made,
            model_version.origin,
            f"{model_version.through:,}",
            f"{model_version.entries:,}",
            f"{model_version.size:,}",
            kept,
        )
    return table
