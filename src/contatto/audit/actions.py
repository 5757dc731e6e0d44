"""Writing into the audit log, in the transaction of what was done."""

from contatto.audit import store
from contatto.audit.model import AuditRecord
from contatto.kit.db.tx import Tx


def append_audit_record(tx: Tx, record: AuditRecord) -> None:
    """Append to the audit log of a business, chained to the entry before."""
    store.append_records(tx, [record])
