"""Taking changes that a CRM posts to us, by the same way as those that are asked for."""

import base64
import secrets
from collections.abc import Sequence
from typing import Final

from contatto.crm.actions.polling import take_crm_change
from contatto.crm.connectors.webhook import PREFIX
from contatto.crm.model.operations import RecordChange
from contatto.crm.model.targets import Target
from contatto.crm.store import targets as store
from contatto.crm.store.echoes import is_echo, save_echoes
from contatto.kit.db.tx import Tx

INCOMING: Final = "incoming_secret"
"""The name of the secret that signs what comes in; it stands beside those that let us into the CRM."""
_SEEN: Final = "event"
_SECRET_BYTES: Final = 32


def incoming_path(number: int) -> str:
    """Return where the CRM of this number posts its changes."""
    return f"/integrations/webhooks/{number}"


def make_signing_secret(prefix: str) -> str:
    """Return a new signing secret: the prefix, and a key in base64."""
    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def open_incoming(tx: Tx, target: Target) -> str:
    """Let a CRM post changes, signed with the secret that is returned; one before it is good no more."""
    secret = make_signing_secret(PREFIX)
    store.record_secrets(tx, target, {**target.secrets, INCOMING: secret})
    return secret


def close_incoming(tx: Tx, target: Target) -> None:
    """Let nobody post changes any more."""
    store.record_secrets(
        tx, target, {name: text for name, text in target.secrets.items() if name != INCOMING}
    )


def take_posted_changes(tx: Tx, target: Target, message_id: str, changes: Sequence[RecordChange]) -> bool:
    """Take changes; False for a message that was taken before."""
    tx.hold_key("crm webhook", target.id)
    if is_echo(tx, target, message_id, _SEEN, message_id):
        return False
    save_echoes(tx, target, message_id, {_SEEN: message_id})
    for change in changes:
        take_crm_change(tx, target, change)
    return True
