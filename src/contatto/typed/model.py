"""The answer to a form, kept under an address so that a reload shows it again."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from contatto.kit.sealed import SealedIn


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A page as it was answered, for the session that was answered alone.

    Attributes:
        id: the hash of the token in its address.
        role: of the member when it was made; with another one it is not shown any more.
        is_once: it is gone once it was shown.
        look: what the audit log says of who sees it, as act, object and what is seen; empty for none.
    """

    id: str
    business_id: str
    member_id: str
    session_hash: str
    role: str
    status: int
    page: Annotated[str, SealedIn("kept_pages.page")] = field(repr=False)
    is_once: bool
    look: tuple[str, ...]
    kept_at: datetime
