"""What a connector says of itself, so that the engine and the pages need no case for any CRM."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contatto.crm.model.operations import FindBy


class ErasureLevel(StrEnum):
    """How far a CRM can erase a person for good."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


APP_SECRET: Final = "client_secret"  # noqa: S105  # a name
"""The secret of an app; it lets nobody in by itself."""
TOKENS: Final = ("access_token", "refresh_token")
"""What a vendor gives us once somebody has consented."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that a person gives to connect a CRM.

    A secret is a text of ASCII without blanks, as programs make them, unless it ``is_password``. One with a
    ``prefix`` is that prefix and base64; who has none yet is offered one.
    ``label``, and ``help`` on where to find it, are English and marked for translation.
    """

    name: str
    label: str
    is_secret: bool = False
    is_required: bool = True
    example: str = ""
    default: str = ""
    help: str = ""
    is_password: bool = False
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where a vendor lets a person allow us in.

    The setting ``client_id`` and the secret ``client_secret`` (``APP_SECRET``) belong to it; ``extra`` are
    further parameters of the authorisation address.
    Source: RFC 6749, 4.1 (authorization code), 6 (refresh).
    """

    authorise_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    is_pkce: bool = True
    servers: tuple[str, ...] = ()
    """Others that may give the tokens of a customer, where the vendor names one as it sends a person back."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What one CRM can do.

    Attributes:
        name: kept in rows; it must never change.
        label: as the vendor writes it.
        address: where it is if it is the same for everybody; empty when a person gives it.
        settings: what a person gives.
        finds_by: ways to look for a record, in the order in which they are tried.
        defaults: the mapping to begin with: our field → the CRM's field.
        describes: whether ``Describe`` works.
        reads_back: whether ``Read`` works. If not, a delivery ends as sent, and is never verified.
        upserts: whether a write without a record id makes no second record for the same external id.
        merges: whether ``Merge`` works.
        erases: how far ``Erase`` goes.
        tells_changes: whether ``Changes`` works.
        enumerates: whether ``Enumerate`` works, and tells of every record that a lead was brought to.
        poll_s: seconds between two polls of changes.
        search_lag_s: how long a record that was made may not be found; the engine waits that long before
            it looks for one that was perhaps made, where a repeat would make a second.
        takes_anything: any field may be written, such as to a webhook.
        oauth: if people connect it that way.
    """

    name: str
    label: str
    address: str = ""
    settings: tuple[Setting, ...] = ()
    finds_by: tuple[FindBy, ...] = (FindBy.EXTERNAL_ID, FindBy.EMAIL, FindBy.PHONE)
    defaults: tuple[tuple[str, str], ...] = ()
    describes: bool = True
    reads_back: bool = True
    upserts: bool = False
    merges: bool = False
    erases: ErasureLevel = ErasureLevel.FULL
    tells_changes: bool = False
    enumerates: bool = False
    poll_s: float = 60.0
    search_lag_s: float = 0.0
    takes_anything: bool = False
    oauth: OAuth | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Secrets that let us in by themselves, without consent at the vendor's; any of them does."""
        return tuple(
            setting.name for setting in self.settings if setting.is_secret and setting.name != APP_SECRET
        )
