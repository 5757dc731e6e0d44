"""What the pages of linked CRMs show, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contatto.crm.actions.incoming import make_signing_secret
from contatto.crm.actions.ledger import TargetLedger
from contatto.crm.actions.targets import NOT_CONNECTED, NOT_STARTED, PAUSED, VALUE_LIMIT
from contatto.crm.model.comparisons import Comparison
from contatto.crm.model.connector import Connector
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.model.traits import Setting, Traits
from contatto.crm.rules.alarms import Alarm, Standing
from contatto.crm.rules.reasons import idle_text, reason_text
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import OutboundRequest

HOME: Final = "/settings/integrations"
BROKEN: Final = (N_("Error"), "failed")
STATES: Final = {
    TargetState.ACTIVE: (N_("Syncing"), "on"),
    TargetState.PAUSED: (N_("Paused"), "paused"),
    TargetState.DISCONNECTED: (N_("Disconnected"), "failed"),
    TargetState.REMOVED: (N_("Removed"), "off"),
}
WAITING: Final = {
    NOT_STARTED: (N_("Not started"), "review"),
    NOT_CONNECTED: (N_("Not connected"), "review"),
}
"""States of a target that nobody has let go yet, by the reason that it has."""
_SAID: Final = (NOT_STARTED, NOT_CONNECTED, PAUSED)
"""Reasons that the state itself says."""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A linked CRM; ``why`` says why it is not written to, and is empty for one that is."""

    number: str
    name: str
    label: str
    state: str
    tone: str
    why: LazyText | str
    is_started: bool
    is_active: bool
    is_paused: bool
    is_disconnected: bool
    reads_back: bool
    standing: Standing
    alarms: tuple[Alarm, ...]
    verified_at: datetime | None
    comparison: Comparison | None

    @property
    def href(self) -> str:
        return f"{HOME}/{self.number}"


def show_target(found: TargetLedger, connectors: Mapping[str, Connector]) -> TargetRow:
    target = found.target
    connector = connectors.get(target.connector)
    state, tone = state_of(target, found.alarms)
    is_started = target.reason not in WAITING
    return TargetRow(
        number=str(target.number),
        name=target.name,
        label=connector.traits.label if connector else target.connector,
        state=state,
        tone=tone,
        why="" if target.is_active or target.reason in _SAID else idle_text(target.reason),
        is_started=is_started,
        is_active=target.is_active,
        is_paused=target.state is TargetState.PAUSED,
        is_disconnected=target.state is TargetState.DISCONNECTED,
        reads_back=connector is None or connector.traits.reads_back,
        standing=found.standing,
        alarms=tuple(alarm for alarm in found.alarms if is_started or alarm is Alarm.MAPPING),
        verified_at=target.verified_at,
        comparison=target.comparison,
    )


@dataclass(frozen=True, slots=True)
class Check:
    """How asking a CRM for its fields stands; ``why`` it failed last, ``next_at`` when it is asked again."""

    is_asking: bool
    described_at: datetime | None
    why: LazyText | str
    next_at: datetime | None
    fields: int


def show_check(target: Target, request: OutboundRequest | None) -> Check:
    why = "" if request is None or not request.reason else reason_text(request.reason)
    is_asking = request is not None and not why and target.described_at is None
    next_at = request.due_at if request is not None and why else None
    return Check(is_asking, target.described_at, why, next_at, len(target.described))


@dataclass(frozen=True, slots=True)
class Comparing:
    """How comparing a CRM with our ledger stands; ``why`` it failed last. Some cannot list their records."""

    is_able: bool
    is_asking: bool
    why: LazyText | str


def show_comparing(connector: Connector | None, request: OutboundRequest | None, now: datetime) -> Comparing:
    is_able = connector is not None and connector.traits.enumerates
    if request is None:
        return Comparing(is_able, is_asking=False, why="")
    is_asking = not request.reason and (request.claim is not None or request.due_at <= now)
    return Comparing(is_able, is_asking, reason_text(request.reason) if request.reason else "")


def state_of(target: Target, alarms: tuple[Alarm, ...]) -> tuple[str, str]:
    """Its state in a word, and the colour of that."""
    if target.is_active and Alarm.NONE_ARRIVES in alarms:
        return BROKEN
    return WAITING.get(target.reason, STATES[target.state])


@dataclass(frozen=True, slots=True)
class ConnectorCard:
    """A CRM that can be linked, and how: by a key that a person pastes, by consent there, or both."""

    name: str
    label: str
    takes_key: bool
    takes_consent: bool
    reads_back: bool
    tells_changes: bool


def show_connectors(connectors: Mapping[str, Connector]) -> list[ConnectorCard]:
    """Each once, in the order of their names for people."""
    cards = [_card(connector.traits) for connector in connectors.values()]
    return sorted(cards, key=lambda card: card.label.casefold())


def _card(traits: Traits) -> ConnectorCard:
    return ConnectorCard(
        traits.name,
        traits.label,
        takes_key=bool(traits.keys),
        takes_consent=traits.oauth is not None,
        reads_back=traits.reads_back,
        tells_changes=traits.tells_changes,
    )


@dataclass(frozen=True, slots=True)
class SettingField:
    """A field of a form. The value of a secret is shown only while it is offered, before it is kept."""

    name: str
    label: str
    help: str
    value: str
    example: str
    is_secret: bool
    is_offered: bool
    is_required: bool
    is_kept: bool

    @property
    def attrs(self) -> dict[str, str | int]:
        """Further attributes of the input."""
        found: dict[str, str | int] = {"maxlength": VALUE_LIMIT, "autocomplete": "off"}
        if self.example:
            found["placeholder"] = self.example
        return found if self.is_required else found | {"data-optional": "1"}


GIVEN: Final = "given."
"""Before the names of settings in a form."""


def show_settings(traits: Traits, values: Mapping[str, str], kept: Mapping[str, str]) -> list[SettingField]:
    """The fields of a form that connects a CRM; ``kept`` are the secrets that it has."""
    return [
        _field(setting, values.get(setting.name, setting.default), is_kept=bool(kept.get(setting.name)))
        for setting in traits.settings
    ]


def _field(setting: Setting, value: str, *, is_kept: bool) -> SettingField:
    is_offered = bool(setting.prefix) and setting.is_required and not is_kept
    if setting.is_secret:
        value = (value or make_signing_secret(setting.prefix)) if is_offered else ""
    return SettingField(
        name=f"{GIVEN}{setting.name}",
        label=setting.label,
        help=setting.help,
        value=value,
        example=setting.example,
        is_secret=setting.is_secret,
        is_offered=is_offered,
        is_required=setting.is_required and not is_kept,
        is_kept=is_kept,
    )
