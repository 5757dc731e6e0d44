"""`contatto serve`: the server of an installation."""

import socket
from typing import Annotated, Final

import typer
from rich.console import Console

from contatto import __version__
from contatto.app import create_app, open_context
from contatto.cli.beside import keep_worker
from contatto.cli.installation import bring_up_to_date, read_settings
from contatto.cli.serving import Serving
from contatto.guide.actions import setup_path
from contatto.wiring import install

_out = Console(highlight=False)
LOCAL_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve pages, API and webhooks, and do the background work unless worker=separate is set."""
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = read_settings(**named)
    sockets = None
    if settings.port == 0:  # the links are to carry the port that was found
        sockets = [_listen(settings.host)]
        named["port"] = sockets[0].getsockname()[1]
        settings = read_settings(**named)
    context = open_context(install(settings))
    bring_up_to_date(context.db)
    serving = Serving(context, create_app(context))
    _out.print(
        f"Contatto {__version__} listens on {settings.host}, port {settings.port} "
        f"(database: {context.db.engine.dialect.name})"
    )
    settings.record_address()
    _out.print(f"Links carry {settings.base_url}", soft_wrap=True)
    if settings.is_local and settings.host not in LOCAL_HOSTS:
        _out.print("Others cannot open them: set CONTATTO_BASE_URL to the public address.")
    link = context.db.read_now(setup_path)
    if link is not None:
        _out.print(f"Nothing is set up yet. Open this link once: {settings.base_url}{link}", soft_wrap=True)
    chosen = {name: str(value) for name, value in named.items()}
    try:
        serving.run(keep_worker(chosen) if settings.worker == "beside" else None, sockets)
    finally:
        for each in sockets or ():
            each.close()
        context.db.close()


def _listen(host: str) -> socket.socket:
    """A socket on a free port."""
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
