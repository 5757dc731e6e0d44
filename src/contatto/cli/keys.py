"""The secret keys: list them, rotate to a new one, retire one that somebody else may know."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from contatto.cli.acting import print_table
from contatto.cli.installation import Storage, open_whole
from contatto.kit.db.connect import count_sealed_rows, count_sealed_with, reseal_all
from contatto.kit.vault import SecretKey, add_key, load_keys, mark_retired

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

commands = typer.Typer(no_args_is_help=True, help=__doc__)


@commands.command("list")
def list_command() -> None:
    """The ids of the keys, newest first, how many values each still opens, and what each is for."""
    storage = open_whole()
    keys = _keys_of(storage)
    table = Table("id", "sealed values", "use")
    for key in keys:
        count = storage.db.read_now(partial(count_sealed_with, key_id=key.id))
        table.add_row(key.id, str(count), _use(key, keys))
    storage.db.close()
    print_table(table)


@commands.command("rotate")
def rotate_command(
    new_key: Annotated[bool, typer.Option(help="Put a new key into the key file first.")] = True,
) -> None:
    """Seal every contact value, message text and secret with the newest key. Stop the server first."""
    storage = open_whole()
    if new_key and not storage.settings.secret_keys:
        storage.db.close()
        add_key(storage.settings.data_dir)
        storage = open_whole()
    total = storage.db.read_now(count_sealed_rows)
    with Progress(console=_err, transient=True) as bar:
        task = bar.add_task("Sealing anew", total=total)
        changed = reseal_all(storage.db, lambda seen: bar.advance(task, seen))
    storage.db.close()
    _out.print(
        f"{changed} values are sealed with the newest key. The older keys still verify what they signed: "
        "if one of them leaked, run contatto keys retire."
    )


@commands.command("retire")
def retire_command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id, as contatto keys list shows it.")],
) -> None:
    """Retire a key that leaked: it opens nothing and verifies no signature any more. Stop the server first.

    What it signed ends: members confirm their forms again, visitors of the chat page who have not come back
    since the rotation begin anew, and older links to ads, forms and pictures are refused.
    """
    storage = open_whole()
    try:
        keys = _keys_of(storage)
        refusal = _refusal(keys, key_id) or _still_needed(storage, key_id)
        if refusal:
            _err.print(f"{refusal} Nothing was changed.")
            raise typer.Exit(1)
        if storage.settings.secret_keys:
            _out.print(f"Nothing needs it. Write :retired behind the key {key_id} in CONTATTO_SECRET_KEYS.")
        else:
            mark_retired(storage.settings.data_dir, key_id)
            _out.print(f"{key_id} is retired. Start the server again.")
    finally:
        storage.db.close()
    if key_id == keys[-1].id:
        _out.print(
            "It is the oldest key, so it must stay where it is: the index that finds contact values and the "
            "ids of visitors follow from it. It does nothing else."
        )
    else:
        _out.print("Keep it as long as you keep backups from before: without it they cannot be read.")


def _keys_of(storage: Storage) -> tuple[SecretKey, ...]:
    return load_keys(storage.settings.secret_keys, storage.settings.data_dir)


def _use(key: SecretKey, keys: tuple[SecretKey, ...]) -> str:
    uses = "retired" if key.is_retired else "opens and verifies"
    uses = "seals and signs" if key is keys[0] else uses
    return f"{uses}; index and derived ids" if key is keys[-1] else uses


def _refusal(keys: tuple[SecretKey, ...], key_id: str) -> str:
    """Why a key cannot be retired whatever it sealed, or an empty text."""
    live = [key.id for key in keys if not key.is_retired]
    if key_id not in live:
        return f"There is no key {key_id} that could be retired; name one of these: {', '.join(live[1:])}."
    if key_id == live[0]:
        return "This is the newest key: put a new one in front of it with contatto keys rotate."
    return ""


def _still_needed(storage: Storage, key_id: str) -> str:
    count = storage.db.read_now(lambda tx: count_sealed_with(tx, key_id))
    return f"{count} values are still sealed with it: run contatto keys rotate first." if count else ""
