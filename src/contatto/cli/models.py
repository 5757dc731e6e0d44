"""Commands for models of delivery, and for the sealed files of their log."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contatto.cli.installation import (
    BusinessOption,
    business_transaction,
    find_one_business,
    open_whole,
    out,
    print_table,
    record_command,
)
from contatto.delivery import store as delivery_store
from contatto.delivery.actions import training
from contatto.delivery.actions.ledger import decision_sealing_job
from contatto.delivery.actions.results import evaluate_log
from contatto.delivery.engines.files import Engine, check_decisions, computing_on
from contatto.kit.background import MaintenanceJob, run_maintenance_job
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.values import from_micros, micros
from contatto.leads.store.jobs import find_lead_model
from contatto.learning.batch_learning import weights_of
from contatto.learning.columns import DAY_US
from contatto.measurement.actions import sealing_job
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import check_file
from contatto.measurement.engines.staging import EngineFailed


def make_model_tables(tx: Tx, business_id: str) -> list[Table]:
    """Return the tables of a business's newest model and of its lead scorer, without empty ones."""
    curves, influences = (
        training.list_curves(tx, business_id, None),
        delivery_store.list_influences(tx, business_id),
    )
    relearning, scorer = delivery_store.find_relearning(tx, business_id), find_lead_model(tx, business_id)
    tables: list[Table] = []
    if curves:
        table = Table(
            "step", "cases", "actual", "predicted", "log loss", "of the base rate's", "calibration error",
            title=f"Predictions of the last {training.SHOWN_DAYS} days",
        )  # fmt: skip
        for curve in curves:
            share = curve.loss / curve.of_rate if curve.of_rate else float("nan")
            table.add_row(
                curve.question.value, f"{curve.cases:,}", f"{curve.actual:,}", f"{curve.expected:,.1f}",
                f"{curve.loss:.4f}", f"{share:.3f}", f"{curve.distance:.4f}",
            )  # fmt: skip
        tables.append(table)
        for curve in curves:
            bins = Table(
                "predicted", "actual", "95% interval", "cases", title=curve.question.value.capitalize()
            )
            for curve_bin in curve.bins:
                bins.add_row(
                    f"{100 * curve_bin.predicted:.2f} %", f"{100 * curve_bin.share:.2f} %",
                    f"{100 * curve_bin.low:.2f} to {100 * curve_bin.high:.2f} %", f"{curve_bin.cases:,}",
                )  # fmt: skip
            tables.append(bins)
    if influences:
        table = Table(
            "step", "factor", "odds ratio", "most likely with", "least likely with", title="Factors"
        )
        for influence in influences:
            factor = f"{influence.source.value} {influence.name}".strip()
            odds = (
                f"{value.value} ({value.times:.2f})" if value else ""
                for value in (influence.most, influence.least)
            )
            table.add_row(influence.question.value, factor, f"{influence.times:.2f}", *odds)
        tables.append(table)
    if relearning is not None:
        stage = relearning.stage.value.replace("_", " ")
        title = f"Nightly training: {stage}, started {relearning.started_at:%Y-%m-%d %H:%M}"
        table = Table("step", "cases", "actual", "log loss", "current model", title=title)
        for step in relearning.compared:
            losses = f"{step.loss:.4f}", f"{step.current_loss:.4f}"
            table.add_row(step.question, f"{step.cases:,}", f"{step.positives:,}", *losses)
        tables.append(table)
    if scorer is not None:
        table = Table(
            "learned", "leads", "good", "trees' share", "log loss", "of the rate's", title="Lead scores"
        )
        good = f"{scorer.held.good:,}" if scorer.held else ""
        relative_loss = f"{scorer.loss / scorer.held.of_rate:.3f}" if scorer.held else ""
        shares = f"{scorer.share:.0%}", f"{scorer.loss:.4f}", relative_loss
        table.add_row(f"{scorer.learned_at:%Y-%m-%d %H:%M}", f"{scorer.outcomes:,}", good, *shares)
        tables.append(table)
    return tables


model_commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for what delivery learned: list, show, evaluate, train, relearn, "
    "roll back.",
)


@model_commands.command("list")
def list_models_command(business: BusinessOption = "") -> None:
    """Show the models that were published, newest first."""
    table = Table("model", "made", "from", "through entry", "entries", "bytes", "kept")
    with business_transaction(business) as (tx, one_business):
        models = delivery_store.list_models(tx, one_business.id)
    for model in models:
        published_at = from_micros(model.made_at).strftime("%Y-%m-%d %H:%M:%S")
        counts = f"{model.through:,}", f"{model.entries:,}", f"{model.size:,}"
        is_stored = "yes" if model.has_blob else "no"
        table.add_row(str(model.version), published_at, model.origin, *counts, is_stored)
    print_table(table, "Nothing is learned yet.")


@model_commands.command("show")
def show_model_command(
    version: Annotated[int, typer.Argument(help="Number of the model; by default the newest.")] = 0,
    business: BusinessOption = "",
) -> None:
    """Show a model: progress of ad groups, predictions beside actual outcomes, and its factors."""
    table = Table("ad group", "phase", "conversions", "views", "leads", "predicted")
    with business_transaction(business) as (tx, one_business):
        number = version or delivery_store.find_newest_version(tx, one_business.id)
        models = delivery_store.list_models(tx, one_business.id)
        version_row = next((model for model in models if model.version == number), None)
        is_intact = delivery_store.load_model(tx, one_business.id, number) is not None
        for state in delivery_store.list_states(tx, one_business.id):
            table.add_row(
                str(state.number), state.phase.value, f"{state.earned} of {state.needed}",
                f"{state.views:,}", f"{state.leads:,}", f"{state.predicted_leads:.1f}",
            )  # fmt: skip
        tables = [table, *make_model_tables(tx, one_business.id)]
    if version_row is None:
        out.print("There is no such model.")
        raise typer.Exit(1)
    fault = "damaged, so the one before it serves" if version_row.has_blob else "not kept any more"
    condition = "whole" if is_intact else fault
    out.print(
        f"Model {version_row.version} ({version_row.origin}), "
        f"learned through entry {version_row.through:,}: {condition}."
    )
    out.print(f"{version_row.size:,} bytes, SHA-256 {version_row.sha256}.")
    out.print("Ad groups, estimates and what these go by, as they are now:")
    for table in tables:
        print_table(table)


@model_commands.command("rollback")
def rollback_command(
    version: Annotated[int, typer.Argument(help="Number of the model to go back to.")],
    business: BusinessOption = "",
) -> None:
    """Go back to an earlier model. Later outcomes are not learned again."""
    with business_transaction(business) as (tx, one_business):
        new_version = training.roll_back_model(tx, one_business.id, version)
        record_command(tx, one_business, "model rollback", f"model {version}")
    out.print(f"Model {new_version.version} is model {version} again. Servers take it within seconds.")


@model_commands.command("evaluate")
def evaluate_command(
    version: Annotated[
        int,
        typer.Argument(help="Number of a model, to see what it would have chosen; by default the newest."),
    ] = 0,
    days: Annotated[int, typer.Option(help="So many days of decisions are judged.", min=1)] = 14,
    wait_days: Annotated[
        int, typer.Option(help="Newer decisions are left out: their outcomes may still arrive.", min=0)
    ] = 3,
    business: BusinessOption = "",
) -> None:
    """Judge predictions by actual outcomes, and estimate what a model would have earned (IPS, SNIPS, DR)."""
    with business_transaction(business) as (tx, one_business):
        until = micros(tx.now) - wait_days * DAY_US
        number = version or delivery_store.find_newest_version(tx, one_business.id)
        evaluation = evaluate_log(tx, one_business.id, until - days * DAY_US, until, number)
    if evaluation is None:
        out.print("There is no such model, or it is not kept any more.")
        raise typer.Exit(1)
    out.print(
        f"{evaluation.decisions:,} decisions. Predictions of that time; the ratio is predicted to actual:"
    )
    table = Table("question", "cases", "actual", "ratio", "log loss", "of mean", "calibration")
    for name, step in evaluation.judged.items():
        table.add_row(
            name, f"{step.count:,}", f"{step.actual:,.0f}", f"{step.ratio:.3f}", f"{step.log_loss:.4f}",
            f"{step.normalized:.3f}", f"{step.calibration_error:.4f}",
        )  # fmt: skip
    print_table(table)
    if evaluation.choices:
        out.print(
            f"What a thousand decisions bring if model {number} chooses, with standard errors;"
            f" {evaluation.effective:,.0f} decisions count for it:"
        )
        table = Table("outcome", "actual", "IPS", "SNIPS", "DR")
        for stage, choice in evaluation.choices.items():
            values = (choice.logged, choice.inverse, choice.normalized, choice.robust)
            texts = (f"{1_000 * value.mean:.2f} ± {1_000 * value.error:.2f}" for value in values)
            table.add_row(stage, *texts)
        print_table(table)


@model_commands.command("train")
def train_command() -> None:
    """Learn all that is waiting, of every business, and publish it. The worker does so too."""
    storage = open_whole()
    try:
        trainer, rounds = training.Trainer(storage.settings.decision_log_days, is_hasty=True), 0
        trainer.start_over()
        while (save := storage.db.read_now(trainer.read_next)) is not None:
            storage.db.write_now(save)
            rounds += 1
    finally:
        storage.db.close()
    out.print(f"Learned in {rounds} {'step' if rounds == 1 else 'steps'}." if rounds else "Nothing waits.")


@model_commands.command("relearn")
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
    business: BusinessOption = "",
) -> None:
    """Learn all sealed files of decisions again, and publish the new weights.

    For logs that are longer than what the worker keeps in memory; each night is often enough. The engine
    joins the examples, then this machine learns from them.
    """
    storage = open_whole()
    try:
        one_business = storage.db.read_now(lambda tx: find_one_business(tx, business))
        prepared = storage.db.read_now(lambda tx: training.prepare_relearning(tx, one_business.id, days))
        if prepared is None:
            out.print("Nothing to learn again: there is no model yet, or no sealed file of decisions.")
            raise typer.Exit(1)
        as_of_ts = micros(storage.db.clock.now())
        until = as_of_ts - wait_days * DAY_US
        since = until - hold_out_days * DAY_US
        market, sources = prepared[0].market, prepared[1]
        with computing_on(engine, connection) as computing:
            as_of = since if hold_out_days else as_of_ts
            examples, passes = training.relearn_files(computing, sources, market, as_of)
            out.print(f"{examples:,} views of ads, learned in {passes} passes.")
            if hold_out_days:
                judged = training.judge_files(computing, sources, market, since, until, as_of_ts)
                out.print(
                    "Decisions that were not learned, by these weights and by the predictions of that time:"
                )
                table = Table("question", "cases", "log loss", "of that time", "ratio", "of that time")
                for name, (learned, logged) in judged.items():
                    losses = f"{learned.log_loss:.4f}", f"{logged.log_loss:.4f}"
                    ratios = f"{learned.ratio:.3f}", f"{logged.ratio:.3f}"
                    table.add_row(name, f"{learned.count:,}", *losses, *ratios)
                print_table(table)
                return
        weights = weights_of(market)
        with storage.db.writing() as tx:
            model = training.publish_relearned(tx, one_business.id, weights)
            record_command(tx, one_business, "model relearn", f"model {model.version}")
        out.print(f"Model {model.version} is published. Servers take it within seconds.")
    except (EngineFailed, OSError, Refused, ValueError) as error:
        out.print(error.detail if isinstance(error, Refused) else str(error))
        raise typer.Exit(1) from error
    finally:
        storage.db.close()


_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def seal_command(
    days: Annotated[
        int, typer.Option(min=2, help="How old a day must be, in days; late touches make a new part.")
    ] = 30,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write; by default as the settings say.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Only see that every sealed file is as written.")] = False,
) -> None:
    """Write days of touches and decisions, and all conversions, as sorted Parquet. The worker does so too.

    Whatever was interrupted is done again by the next run.
    """
    storage = open_whole()
    try:
        if check:
            check_sealed(storage.db)
        else:
            target = folder or storage.settings.sealed_dir or storage.settings.data_dir / "sealed"
            seal_files(storage.db, sealing_job(target.resolve(), days))
            if kept_days := storage.settings.decision_files_days:
                seal_files(storage.db, decision_sealing_job(target.resolve(), days, kept_days))
    except OSError as error:
        _err.print(str(error))
        raise typer.Exit(1) from error
    finally:
        storage.db.close()


def seal_files(db: Database, job: MaintenanceJob) -> None:
    """Run a sealing job, and print the new files."""
    before = {file.name for file in db.read_now(sealing.list_sealed_files)}
    before |= {file.name for file in db.read_now(delivery_store.list_decision_files)}
    if run_maintenance_job(db, job) is None:
        _out.print("Somebody else is sealing into this folder now.")
        return
    for file in db.read_now(sealing.list_sealed_files):
        if file.name not in before:
            _out.print(f"{file.name}: {file.touches} touches")
    for decision_file in db.read_now(delivery_store.list_decision_files):
        if decision_file.name not in before:
            _out.print(f"{decision_file.name}: {decision_file.entries} entries")


def check_sealed(db: Database) -> None:
    """Verify that every listed file is unchanged. Raises OSError at the first that is not."""
    files = db.read_now(sealing.list_sealed_files)
    for file in files:
        check_file(file)
    decision_files = db.read_now(delivery_store.list_decision_files)
    for decision_file in decision_files:
        check_decisions(decision_file)
    _out.print(f"{len(files) + len(decision_files)} files are as they were written.")
