"""The `contatto` command: serve, work, migrate, set up a business, contacts, attribution, the demo world."""

import asyncio
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from contatto import __version__
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.cli.ads import ads_commands
from contatto.cli.attribute import attribute_command, report_command
from contatto.cli.capture import capture_commands
from contatto.cli.demo import demo_command
from contatto.cli.detect import detect_command
from contatto.cli.seal import seal_command
from contatto.cli.serving import Serving
from contatto.cli.tokens import token_commands
from contatto.kit.context import Context
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.log import set_up_logs
from contatto.kit.rotation import count_sealed_rows, reseal_all
from contatto.kit.settings import Settings
from contatto.kit.vault import add_key
from contatto.migrations.steps import migrate_schema
from contatto.worker import Worker

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.command("demo")(demo_command)
app.command("attribute")(attribute_command)
app.command("detect")(detect_command)
app.command("report")(report_command)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def _open() -> Context:
    """Read the settings, say clearly what is wrong with them, and bring the schema up to date."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]).upper()
            _err.print(f"CONTATTO_{name}: {problem['msg']}.")
        _err.print("Every setting is in docs/reference/settings.md.")
        raise typer.Exit(2) from error
    set_up_logs(settings.log_level, settings.log_format)
    context = open_context(settings)
    migrate_schema(context.db.engine)
    return context


app.add_typer(ads_commands(_open), name="ads")
app.add_typer(capture_commands(_open), name="capture")
app.command("seal")(seal_command(_open))
app.add_typer(token_commands(_open), name="token")


@app.command("serve")
def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve pages, API and webhooks; with the setting worker=in_process it does the background work too."""
    context = _open()
    settings = context.settings
    config = uvicorn.Config(
        create_app(context),
        host=host or settings.host,
        port=settings.port if port is None else port,
        access_log=False,
        log_config=None,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    _out.print(
        f"Contatto {__version__} serves {settings.base_url} (database: {context.db.engine.dialect.name})"
    )
    try:
        Serving(context, config).run()
    finally:
        context.db.close()


@app.command("worker")
def worker_command() -> None:
    """Do the background work in a process of its own; run as many as you like on PostgreSQL."""
    context = _open()

    async def work() -> None:
        await Worker(context.db, context.settings).run()

    _out.print("The worker runs. Stop it with Ctrl+C.")
    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        pass
    finally:
        context.db.close()


@app.command("migrate")
def migrate_command() -> None:
    """Bring the database to the schema of this release."""
    context = _open()
    _out.print(f"The schema is up to date ({context.db.engine.dialect.name}).")
    context.db.close()


@app.command("init")
def init_command(
    business: Annotated[str, typer.Option(prompt=True, help="Name of the business.")],
    email: Annotated[str, typer.Option(prompt=True, help="E-mail of its owner.")],
    country: Annotated[
        str, typer.Option(prompt=True, help="Registration country of the ad account, such as SG.")
    ],
    currency: Annotated[str, typer.Option(prompt=True, help="Currency of the ad account, such as SGD.")],
    timezone: Annotated[str, typer.Option(prompt=True, help="Time zone of the ad account, an IANA name.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Create the first business with its owner and an ad account."""
    context = _open()

    def create(tx: Tx) -> str:
        made = accounts.create_business(tx, business)
        owner = NewMember(email, email.partition("@")[0], Role.OWNER, password)
        accounts.add_member(tx, made.id, owner, hashed)
        account = accounts.add_ad_account(tx, made.id, NewAdAccount(business, country, currency, timezone))
        return str(account.number)

    try:
        hashed = accounts.hash_password(password)
        number = context.db.write_now(create)
    except Refused as refused:
        _err.print(f"{refused.detail} Nothing was kept. {refused.code.remedy}")
        raise typer.Exit(1) from refused
    finally:
        context.db.close()
    _out.print(f"Created {business} with advertiser_id {number}. Sign in as {email}.")


@app.command("rotate-keys")
def rotate_keys_command(
    new_key: Annotated[bool, typer.Option(help="Put a new key into the key file first.")] = True,
) -> None:
    """Seal every contact value, message text and secret with the newest key. Stop the server first."""
    context = _open()
    if new_key and not context.settings.secret_keys:
        context.db.close()
        add_key(context.settings.data_dir)
        context = _open()
    total = context.db.read_now(count_sealed_rows)
    with Progress(console=_err, transient=True) as bar:
        task = bar.add_task("Sealing anew", total=total)
        changed = reseal_all(context.db, lambda seen: bar.advance(task, seen))
    context.db.close()
    _out.print(
        f"{changed} values are sealed with the newest key. Keep the older keys: the index needs the oldest."
    )


@app.command("version")
def version_command() -> None:
    """Print the version."""
    _out.print(__version__)
