"""Writing into the audit log, in the transaction of what was done."""

from contatto.audit import store
from contatto.audit.model import Deed
from contatto.kit.db.tx import Tx


def record_deed(tx: Tx, deed: Deed) -> None:
    """Append to the audit log of a business, chained to the entry before."""
    store.append_deeds(tx, [deed])
