"""`contatto rotate-keys`: everything that is sealed, sealed with the newest key."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from contatto.cli.installation import open_installation
from contatto.kit.rotation import count_sealed_rows, reseal_all
from contatto.kit.vault import add_key

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def rotate_keys_command(
    new_key: Annotated[bool, typer.Option(help="Put a new key into the key file first.")] = True,
) -> None:
    """Seal every contact value, message text and secret with the newest key. Stop the server first."""
    context = open_installation()
    if new_key and not context.settings.secret_keys:
        context.db.close()
        add_key(context.settings.data_dir)
        context = open_installation()
    total = context.db.read_now(count_sealed_rows)
    with Progress(console=_err, transient=True) as bar:
        task = bar.add_task("Sealing anew", total=total)
        changed = reseal_all(context.db, lambda seen: bar.advance(task, seen))
    context.db.close()
    _out.print(
        f"{changed} values are sealed with the newest key. Keep the older keys: the index needs the oldest."
    )
