"""`contatto seal`: days of touches and decisions, and all conversions, as Parquet for analysts."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contatto.cli.installation import open_whole
from contatto.delivery.actions.log import decision_sealing_job
from contatto.delivery.engines import check_decisions
from contatto.delivery.store.log import list_decision_files
from contatto.kit.background import MaintenanceJob, run_maintenance_job
from contatto.kit.db.database import Database
from contatto.measurement.actions import sealing_job
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import check_file

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
            seal_days(storage.db, target.resolve(), days)
            if kept_days := storage.settings.decision_files_days:
                seal_decisions(storage.db, decision_sealing_job(target.resolve(), days, kept_days))
    except OSError as error:
        _err.print(str(error))
        raise typer.Exit(1) from error
    finally:
        storage.db.close()


def seal_days(db: Database, folder: Path, age_days: int) -> None:
    """Seal every day of some age, and say which files are new."""
    before = {file.name for file in db.read_now(sealing.list_sealed_files)}
    if run_maintenance_job(db, sealing_job(folder, age_days)) is None:
        _out.print("Somebody else is sealing into this folder now.")
        return
    for file in db.read_now(sealing.list_sealed_files):
        if file.name not in before:
            _out.print(f"{file.name}: {file.touches} touches")


def seal_decisions(db: Database, job: MaintenanceJob) -> None:
    """Do what files of decisions need, and say which are new."""
    before = {file.name for file in db.read_now(list_decision_files)}
    if run_maintenance_job(db, job) is None:
        _out.print("Somebody else is sealing into this folder now.")
        return
    for file in db.read_now(list_decision_files):
        if file.name not in before:
            _out.print(f"{file.name}: {file.entries} entries")


def check_sealed(db: Database) -> None:
    """See that every listed file is as it was written.

    Raises:
        OSError: at the first that is not.
    """
    files = db.read_now(sealing.list_sealed_files)
    for file in files:
        check_file(file)
    of_decisions = db.read_now(list_decision_files)
    for of_decision in of_decisions:
        check_decisions(of_decision)
    _out.print(f"{len(files) + len(of_decisions)} files are as they were written.")
