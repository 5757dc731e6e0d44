"""`contatto seal`: days of touches, and all conversions, as Parquet for analysts and clusters."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contatto.kit.context import Context
from contatto.kit.db.database import Database
from contatto.measurement import store
from contatto.measurement.actions import list_unsealed_days, record_sealed_file
from contatto.measurement.engines.sealing import BrokenFile, check_file, write_conversions, write_part

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def seal_command(open_context: Callable[[], Context]) -> Callable[..., None]:
    """The command, given how to open the installation."""

    def seal(
        days: Annotated[
            int, typer.Option(min=2, help="How old a day must be, in days; late touches make a new part.")
        ] = 30,
        folder: Annotated[
            Path | None, typer.Option(help="Where to write; by default `sealed` in the data folder.")
        ] = None,
        check: Annotated[bool, typer.Option(help="Only see that every sealed file is as written.")] = False,
    ) -> None:
        """Write days of touches, and all conversions, as sorted Parquet files. Run it every night.

        Whatever was interrupted is done again by the next run. The database keeps its rows.
        """
        context = open_context()
        try:
            if check:
                check_sealed(context.db)
            else:
                target = (folder or context.settings.data_dir / "sealed").resolve()
                last_day = (context.clock.now() - timedelta(days=days)).date().isoformat()
                seal_days(context.db, target, last_day)
        except (BrokenFile, OSError) as error:
            _err.print(str(error))
            raise typer.Exit(1) from error
        finally:
            context.db.close()

    return seal


def seal_days(db: Database, folder: Path, last_day: str) -> None:
    """Seal every day up to one; each file is on the disk before the manifest lists it."""
    sealed = db.read_now(store.list_sealed_files)
    for day in db.read_now(lambda tx: list_unsealed_days(tx, last_day)):
        before = [file for file in sealed if file.day == day]
        touches = db.read_now(partial(store.list_touches_of_day, day=day))
        file = write_part(folder, day, touches, before)
        if file is not None:
            db.write_now(partial(record_sealed_file, file=file))
            _out.print(f"{file.name}: {file.touches} touches")
    write_conversions(folder, db.read_now(store.list_conversions_that_stand))


def check_sealed(db: Database) -> None:
    """See that every listed file is as it was written.

    Raises:
        BrokenFile: at the first that is not.
    """
    files = db.read_now(store.list_sealed_files)
    for file in files:
        check_file(file)
    _out.print(f"{len(files)} files are as they were written.")
