"""Linking CRMs, mapping their fields, pausing, connecting again, sending all again, and removing them."""

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from contatto.crm.actions.checking import queue_check
from contatto.crm.actions.comparing import queue_comparison
from contatto.crm.actions.delivering import resend_delivery
from contatto.crm.actions.erasing import release_erasures
from contatto.crm.actions.polling import queue_poll
from contatto.crm.actions.running import connector_of, publish_connection
from contatto.crm.model.deliveries import Delivery, DeliveryState
from contatto.crm.model.targets import MappedField, Sweep, Target, TargetState
from contatto.crm.model.traits import TOKENS, Setting, Traits
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.mapping import check_mapping, default_mapping
from contatto.crm.store import deliveries
from contatto.crm.store import targets as store
from contatto.crm.store.trials import delete_trial
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound.client import read_address

MOST_TARGETS: Final = 20
NAME_LIMIT: Final = 80
VALUE_LIMIT: Final = 2_048
MOST_ROWS: Final = 200
_LEAST_KEY: Final = 24
"""Bytes of a signing key at least. Source: Standard Webhooks, specification 1.0."""
NOT_CONNECTED: Final = "not_connected"
NOT_STARTED: Final = "not_started"
PAUSED: Final = "paused"
AT_ONCE: Final = 500
"""Dead letters that are sent again at once; who has more does so again."""


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A CRM to link: the name of its connector, and what a person gave."""

    connector: str
    name: str
    address: str
    given: Mapping[str, str] = field(repr=False)


def link_crm(
    tx: Tx, business_id: str, new: NewTarget, allowed: Collection[str], *, is_started: bool = True
) -> Target:
    """Link a CRM: from now on each change of a lead is due there; those that are there already come too.

    Without ``is_started`` they queue, until a person has looked at the mapping. A CRM whose vendor has to
    be asked first, as no key was given, is not connected yet.

    Raises:
        Refused: INVALID; AD_LIMIT when there are too many.
    """
    connector = tx.ports[CrmPorts].connectors.get(new.connector)
    if connector is None:
        raise Refused(errors.INVALID, "connector: Choose a CRM from the list.")
    traits = connector.traits
    settings, secrets = _read_given(traits, new.given, {}, {})
    address = _read_address(traits, new.address, allowed)
    tx.hold_key("crm targets", business_id)
    if len(store.list_targets(tx, business_id)) >= MOST_TARGETS:
        raise Refused(
            errors.AD_LIMIT,
            "A business can connect up to %(most)s CRMs. Remove one first.",
            most=MOST_TARGETS,
        )
    name = " ".join(new.name.split())[:NAME_LIMIT] or traits.label
    state, reason = _begins(traits, secrets, is_started=is_started)
    target = Target(
        id=new_id(),
        number=new_number(),
        business_id=business_id,
        connector=traits.name,
        name=name,
        state=state,
        address=address,
        settings=settings,
        secrets=secrets,
        secrets_revision=0,
        mapping=default_mapping(traits),
        statuses={},
        described=(),
        described_at=None,
        faults=(),
        reason=reason,
        created_at=tx.now,
        sweep=Sweep.MISSING,
    )
    store.save_target(tx, target)
    queue_check(tx, target)
    queue_poll(tx, target)
    queue_comparison(tx, target)
    return target


def _begins(traits: Traits, secrets: Mapping[str, str], *, is_started: bool) -> tuple[TargetState, str]:
    if not _is_let_in(traits, secrets):
        return TargetState.DISCONNECTED, NOT_CONNECTED
    return (TargetState.ACTIVE, "") if is_started else (TargetState.PAUSED, NOT_STARTED)


def _is_let_in(traits: Traits, secrets: Mapping[str, str]) -> bool:
    return traits.oauth is None or any(secrets.get(name) for name in (*traits.keys, *TOKENS))


def _read_given(
    traits: Traits, given: Mapping[str, str], settings: Mapping[str, str], secrets: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What a person gave, over what is kept; an empty secret leaves the one that is there."""
    kept, hidden = dict(settings), dict(secrets)
    for setting in traits.settings:
        text = given.get(setting.name, "").strip()
        if len(text) > VALUE_LIMIT or not text.isprintable():
            raise Refused(errors.INVALID, "%(label)s: Enter a valid value.", label=LazyText(setting.label))
        if setting.is_secret and text:
            _check_secret(setting, text)
        into = hidden if setting.is_secret else kept
        if text or not setting.is_secret:
            into[setting.name] = text or setting.default
        if setting.is_required and not into.get(setting.name):
            raise Refused(errors.INVALID, "%(label)s: Enter a value.", label=LazyText(setting.label))
    return kept, hidden


def _check_secret(setting: Setting, text: str) -> None:
    """Refuse a secret that no request can carry, or that is not of its form."""
    label = LazyText(setting.label)
    if not setting.is_password and (not text.isascii() or " " in text):
        raise Refused(
            errors.INVALID,
            "%(label)s: it contains characters that are not allowed. Copy it again.",
            label=label,
        )
    if setting.prefix and not _is_signing_secret(setting.prefix, text):
        raise Refused(
            errors.INVALID,
            "%(label)s: enter %(prefix)s, then at least 24 bytes in base64.",
            label=label,
            prefix=setting.prefix,
        )


def _is_signing_secret(prefix: str, text: str) -> bool:
    """Report whether a text is a prefix and a key in base64."""
    try:
        key = base64.b64decode(text.removeprefix(prefix), validate=True)
    except binascii.Error:
        return False
    return text.startswith(prefix) and len(key) >= _LEAST_KEY


def _read_address(traits: Traits, text: str, allowed: Collection[str]) -> str:
    address = (traits.address or text).strip().rstrip("/")
    try:
        read_address(address[: VALUE_LIMIT + 1], allowed)
        fits = len(address) <= VALUE_LIMIT
    except ValueError:
        fits = False
    if not fits:
        says = N_("address: enter a public https address on port 443. The operator can allow others.")
        raise Refused(errors.INVALID, says)
    return address


def load_target(tx: Tx, business_id: str, number: int) -> Target:
    """A linked CRM.

    Raises:
        Refused: NOT_FOUND.
    """
    target = store.find_target_by_number(tx, business_id, number)
    if target is None:
        raise Refused(errors.NOT_FOUND, "Connected CRM not found.")
    return target


def reconnect_target(
    tx: Tx, target: Target, address: str, given: Mapping[str, str], allowed: Collection[str]
) -> None:
    """Connect a CRM again, with other secrets if some are given; what waited goes there by itself.

    One that a member paused stays so, and one whose vendor was never asked waits for that.

    Raises:
        Refused: INVALID.
    """
    connector = connector_of(tx, target)
    if connector is None:
        raise Refused(errors.CONFLICT, "This version of Contatto does not support this CRM. Update Contatto.")
    settings, secrets = _read_given(connector.traits, given, target.settings, target.secrets)
    place = _read_address(connector.traits, address or target.address, allowed)
    if secrets != target.secrets:
        store.record_secrets(tx, target, secrets)
    store.record_target(tx, target, settings=settings, address=place)
    now = replace(target, address=place)
    if target.state is TargetState.PAUSED:
        store.record_target(tx, target, reason=PAUSED if target.verified_at else NOT_STARTED)
        queue_check(tx, now)
    elif _is_let_in(connector.traits, secrets):
        resume_target(tx, now)


def resume_target(tx: Tx, target: Target) -> None:
    """Let leads go to a target again: those that waited are queued by the worker."""
    store.record_target(tx, target, state=TargetState.ACTIVE, reason="")
    publish_connection(tx, target)
    active = replace(target, state=TargetState.ACTIVE)
    queue_check(tx, active)
    queue_poll(tx, active)
    queue_comparison(tx, active)
    if not target.is_active:
        release_erasures(tx, active)


def pause_target(tx: Tx, target: Target) -> None:
    """Let leads queue until a person lets them go on."""
    store.record_target(tx, target, state=TargetState.PAUSED, reason=PAUSED)
    publish_connection(tx, target)


def remove_target(tx: Tx, target: Target) -> None:
    """Unlink a CRM: nothing more goes there. What is there stays there."""
    store.record_target(tx, target, state=TargetState.REMOVED, reason="removed")
    publish_connection(tx, target)
    delete_trial(tx, target)
    store.record_secrets(tx, target, {})


def resync_target(tx: Tx, target: Target) -> None:
    """Make every lead due again at a target, whatever is known of it."""
    store.record_target(tx, target, sweep=Sweep.ALL, sweep_after="")


def map_target(tx: Tx, target: Target, rows: Collection[MappedField], statuses: Mapping[str, str]) -> None:
    """Change what goes where, and what the CRM's words for a status mean; the next deliveries go by it.

    Raises:
        Refused: INVALID.
    """
    if len(rows) > MOST_ROWS or any(
        not row.source or not row.target or len(row.source) > VALUE_LIMIT or len(row.target) > VALUE_LIMIT
        for row in rows
    ):
        raise Refused(errors.INVALID, "mapping: Choose a Contatto field and a CRM field in each row.")
    if len({row.target for row in rows}) != len(rows):
        raise Refused(errors.INVALID, "mapping: Each CRM field can be used only once.")
    connector = connector_of(tx, target)
    takes_anything = connector is None or connector.traits.takes_anything or not target.described
    faults = check_mapping(rows, target.described, takes_anything=takes_anything)
    store.record_target(tx, target, mapping=tuple(rows), statuses=dict(statuses), faults=faults)


def resend_dead(tx: Tx, target: Target) -> int:
    """Send dead letters of a target again, as they stand; say how many."""
    dead = deliveries.list_deliveries(tx, target.business_id, target.id, (DeliveryState.DEAD,), limit=AT_ONCE)
    seen: set[str] = set()
    for delivery in dead:  # the latest of each lead first, which settles the others
        if delivery.lead_id not in seen:
            seen.add(delivery.lead_id)
            resend_delivery(tx, delivery)
    return len(seen)


def edit_dead(tx: Tx, target: Target, delivery_id: int, edited: Mapping[str, str]) -> None:
    """Send one dead letter again, with other values in the CRM's fields.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is no dead letter; INVALID.
    """
    delivery = load_delivery(tx, target, delivery_id)
    if delivery.state is not DeliveryState.DEAD:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if any(len(text) > VALUE_LIMIT for text in edited.values()):
        raise Refused(errors.INVALID, "A value is too long.")
    resend_delivery(tx, delivery, json.dumps(dict(edited)) if edited else "")


def load_delivery(tx: Tx, target: Target, delivery_id: int) -> Delivery:
    """A delivery of a target.

    Raises:
        Refused: NOT_FOUND.
    """
    delivery = deliveries.find_delivery(tx, target.business_id, delivery_id)
    if delivery is None or delivery.target_id != target.id:
        raise Refused(errors.NOT_FOUND, "Delivery not found.")
    return delivery
