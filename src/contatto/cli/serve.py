"""`contatto serve` and `contatto worker`: the processes of an installation."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from contatto import __version__
from contatto.app import create_app
from contatto.cli.installation import open_installation
from contatto.cli.serving import Serving
from contatto.worker import Worker

_out = Console(highlight=False)


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve pages, API and webhooks; with the setting worker=in_process it does the background work too."""
    context = open_installation()
    settings = context.settings
    chosen = {"host": host or settings.host, "port": settings.port if port is None else port}
    serving = Serving(context, create_app(context), **chosen)
    _out.print(
        f"Contatto {__version__} serves {settings.base_url} (database: {context.db.engine.dialect.name})"
    )
    try:
        serving.run()
    finally:
        context.db.close()


def worker_command() -> None:
    """Do the background work in a process of its own; run as many as you like on PostgreSQL."""
    context = open_installation()

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Worker(context.db, context.installation).run())
            tasks.create_task(context.db.watch())

    _out.print("The worker runs. Stop it with Ctrl+C.")
    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        pass
    finally:
        context.db.close()
