"""Context of requests: settings, database, clock, vault, live feed, renderer, uploads."""

from dataclasses import dataclass, replace

from starlette.requests import HTTPConnection

from contatto.kit.background import Installation
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Clock, MissingPart, Parts
from contatto.kit.settings import Settings
from contatto.kit.uploads import Uploads
from contatto.kit.vault import Vault
from contatto.ui.live import LiveFeed
from contatto.ui.render import Renderer


@dataclass(frozen=True, slots=True)
class Context:
    """Parts of one running installation."""

    installation: Installation
    db: Database
    clock: Clock
    vault: Vault
    live: LiveFeed
    pages: Renderer
    uploads: Uploads

    @property
    def settings(self) -> Settings:
        return self.installation.settings


def context_of(connection: HTTPConnection) -> Context:
    """Return the context of the app, with the database of the request after `bind_database`."""
    context: Context = (
        connection.scope.get("state", {}).get("context") or connection.scope["app"].state.context
    )
    return context


def bind_database(connection: HTTPConnection, db: Database) -> None:
    """Use another database for the rest of a request, such as one that logs changes."""
    connection.scope["state"]["context"] = replace(connection.scope["app"].state.context, db=db)


def part_of[T](connection: HTTPConnection, kind: type[T]) -> T:
    """Return a resource of the serving app by its type.

    Raises:
        MissingPart: the installation was built without it.
    """
    resources = connection.scope["app"].state.resources
    if not isinstance(resources, Parts):
        raise MissingPart("this app was built without resources")
    return resources[kind]
