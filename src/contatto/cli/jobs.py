"""The operator's commands for background work that failed: list, show, replay, dismiss."""

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Final

import typer
from rich.table import Table

from contatto.accounts import store
from contatto.accounts.model import Business
from contatto.cli.acting import Of, carry_out, find_one_business, out, print_table, record_command
from contatto.jobs import actions
from contatto.jobs.rules import FailedCounts, FailedWork, reason_text, work_text
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.settings import Settings

MOST_ROWS: Final = 1_000
Which = Annotated[list[str] | None, typer.Argument(help="Ids of failed jobs, such as job-7 or request-7.")]
All = Annotated[bool, typer.Option("--all", help="All that were given up.")]
commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("list")
def list_command(business: Of = "") -> None:
    """Show what failed, given up first, of all businesses or one."""

    def work(tx: Tx) -> list[tuple[Business, FailedCounts, list[FailedWork]]]:
        chosen = [find_one_business(tx, business)] if business else store.list_businesses(tx)
        return [
            (of, actions.count_failed_work(tx, of.id), actions.list_failed_work(tx, of.id, MOST_ROWS))
            for of in chosen
        ]

    found = carry_out(work)
    for of, counts, failed in found:
        if failed:
            out.print(f"{of.name}: {counts.dead:,} given up, {counts.waiting:,} tried again.")
            print_table(_table(failed))
    if not any(failed for _, _, failed in found):
        out.print("No failed jobs.")


def _table(failed: list[FailedWork]) -> Table:
    table = Table("id", "what", "state", "since", "tries", "why")
    for failed_work in failed:
        state = "given up" if failed_work.is_dead else f"again at {failed_work.next_at:%Y-%m-%d %H:%M}"
        since = f"{failed_work.failed_at:%Y-%m-%d %H:%M}" if failed_work.failed_at else ""
        table.add_row(
            failed_work.id,
            str(work_text(failed_work)),
            state,
            since,
            str(failed_work.attempts),
            str(reason_text(failed_work)),
        )
    return table


@commands.command("show")
def show_command(
    failed_id: Annotated[str, typer.Argument(help="Id of a failed job.")], business: Of = ""
) -> None:
    """Show one failed job: what it concerns, since when it fails, and why."""
    each = carry_out(lambda tx: actions.load_failed_work(tx, find_one_business(tx, business).id, failed_id))
    table = Table(show_header=False)
    rows = {
        "id": each.id,
        "what": f"{work_text(each)} ({each.name})",
        "to": each.destination,
        **dict(each.about),
        "state": "given up" if each.is_dead else "tried again",
        "since": f"{each.failed_at:%Y-%m-%d %H:%M:%S}" if each.failed_at else "",
        "tried again at": f"{each.next_at:%Y-%m-%d %H:%M:%S}" if each.next_at else "",
        "tries": str(each.attempts),
        "why": f"{reason_text(each)} ({each.reason})",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    print_table(table)


@commands.command("replay")
def replay_command(failed_ids: Which = None, every: All = False, business: Of = "") -> None:
    """Do failed jobs again, as if they had never been tried: some by their ids, or all that were given up."""
    chosen = _chosen(failed_ids, every)
    kinds = _outbound_kinds()

    def work(tx: Tx) -> tuple[int, int]:
        of = find_one_business(tx, business)
        done = refused = 0
        if every:
            done, after = actions.replay_dead_jobs(tx, of.id).done, 0
            while (some := actions.replay_dead_requests(tx, kinds, of.id, after)).last is not None:
                done, refused, after = done + some.done, refused + some.refused, some.last
        for each in chosen:
            actions.replay_failed_work(tx, kinds, of.id, each)
        record_command(tx, of, "jobs replay", _objects(chosen))
        return done + len(chosen), refused

    done, refused = carry_out(work)
    out.print(f"{done:,} jobs are due again.")
    if refused:
        out.print(f"{refused:,} may not be sent any more, and stay as they are.")


@commands.command("dismiss")
def dismiss_command(
    failed_ids: Which = None,
    every: All = False,
    business: Of = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give failed jobs up: some by their ids, or all that were given up already."""
    chosen = _chosen(failed_ids, every)
    if not yes:
        typer.confirm("They are not done any more. Dismiss them?", abort=True)
    kinds = _outbound_kinds()

    def work(tx: Tx) -> int:
        of = find_one_business(tx, business)
        count = actions.dismiss_dead_work(tx, of.id) if every else len(chosen)
        for each in chosen:
            actions.dismiss_failed_work(tx, kinds, of.id, each)
        record_command(tx, of, "jobs dismiss", _objects(chosen))
        return count

    out.print(f"{carry_out(work):,} jobs are dismissed.")


def _chosen(failed_ids: list[str] | None, every: bool) -> list[str]:
    """The ids that were given, each once.

    Raises:
        typer.BadParameter: ids and all, or neither.
    """
    chosen = list(dict.fromkeys(failed_ids or ()))
    if bool(chosen) is every:
        raise typer.BadParameter("give ids, or --all.")
    return chosen


def _outbound_kinds() -> Mapping[str, OutboundKind]:
    """Load every kind of outbound request, which `list` and `show` do without."""
    kinds: Mapping[str, OutboundKind] = import_module("contatto.wiring").outbound_kinds(Settings())
    return kinds


def _objects(chosen: list[str]) -> str:
    return " ".join(f"failed_id={each}" for each in chosen)
