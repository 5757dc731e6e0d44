"""The page of one linked CRM: how it stands, what to do next, and its connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.crm.actions.checking import find_check
from contatto.crm.actions.comparing import find_comparison
from contatto.crm.actions.incoming import INCOMING, incoming_path
from contatto.crm.actions.ledger import load_standings
from contatto.crm.actions.targets import load_target
from contatto.crm.model.targets import Sweep, Target
from contatto.crm.pages.views import (
    HOME,
    show_check,
    show_comparing,
    show_connectors,
    show_settings,
    show_target,
)
from contatto.crm.ports import CrmPorts
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix=HOME)


@router.get("/{target_id}")
async def show_integration(request: Request, caller: PageCaller, target_id: str) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    return await render_target(request, caller, target_id)


@dataclass(frozen=True, slots=True)
class Once:
    """What a page says this once.

    Attributes:
        refused: what was not taken, ``at`` which form, and what was ``typed`` there (never a secret).
        secret: a new one of the webhook in.
    """

    refused: Refused | None = None
    at: str = ""
    typed: Mapping[str, str] | None = None
    secret: str = field(default="", repr=False)


async def render_target(
    request: Request, caller: Caller, target_id: str, once: Once | None = None
) -> HTMLResponse:
    context, said = context_of(request), once or Once()
    refused = said.refused

    def load(tx: Tx) -> dict[str, Any]:
        target = load_target(tx, caller.business_id, number_of(target_id))
        (standing,) = load_standings(tx, caller.business_id, [target])
        connectors = tx.ports[CrmPorts].connectors
        connector = connectors.get(target.connector)
        return {
            "target": show_target(standing, connectors),
            "card": show_connectors({target.connector: connector})[0] if connector else None,
            "fields": show_settings(connector.traits, said.typed or target.settings, target.secrets)
            if connector
            else [],
            "asks_address": connector is not None and not connector.traits.address,
            "check": show_check(target, find_check(tx, target)),
            "comparing": show_comparing(connector, find_comparison(tx, target), tx.now),
            "incoming_address": f"{context.settings.base_url}{incoming_path(target.number)}",
            **_facts(target),
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "at": said.at,
        "error": refused.detail_in(translator_of(request)) if refused else "",
        "incoming_secret": said.secret,
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "crm/target.html", values, status)


def _facts(target: Target) -> dict[str, Any]:
    return {
        "address": target.address,
        "created_at": target.created_at,
        "is_open": INCOMING in target.secrets,
        "faults": target.faults,
        "is_sweeping": target.sweep is not Sweep.NONE,
        "rows": len(target.mapping),
    }
