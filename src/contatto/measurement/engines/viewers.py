"""Which viewers of a publisher are which persons of our own chat: told by first taps, and by nothing else.

A publisher names its viewers as it likes, and views are of those. A person of our own chat has an identity
that we made, and taps and conversions are of that. A link says that the views of the one may earn the
conversions of the other. It opens nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Index, Select, String, Table, bindparam, literal_column, select

from contatto.kit.db.hot import Seek, insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata

viewer_links = Table(
    "viewer_links",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("viewer_id", String(36), primary_key=True),
    Column("person_id", String(36), primary_key=True),
    instant("linked_at"),
    Index("ix_viewer_links_of_person", "business_id", "person_id", "linked_at"),
    sqlite_with_rowid=False,
)
MOST: Final = 50
"""So many viewers of a person count, the latest: nobody has more, unless a publisher names them at random."""


@dataclass(frozen=True, slots=True)
class _Viewer:
    viewer_id: str


_VIEWERS: Final = Seek(
    _Viewer,
    select(viewer_links.c.viewer_id)
    .where(
        viewer_links.c.business_id == bindparam("of_business"),
        viewer_links.c.person_id == bindparam("of_person"),
    )
    .order_by(viewer_links.c.linked_at.desc())
    .limit(literal_column(str(MOST))),
)


def append_links(tx: Tx, business_id: str, named: Iterable[tuple[str, str]]) -> int:
    """Append links of viewers and persons; say how many were not there before."""
    same = {"business_id": business_id, "linked_at": tx.now}
    return insert_new(
        tx,
        viewer_links,
        [same | {"viewer_id": viewer, "person_id": person} for viewer, person in sorted(named)],
    )


def list_viewers_of(tx: Tx, business_id: str, person_id: str) -> list[str]:
    """The viewers that a person is, the latest first."""
    found = _VIEWERS.list(tx, {"of_business": business_id, "of_person": person_id})
    return [each.viewer_id for each in found]


def list_persons_of(tx: Tx, business_id: str, viewer_id: str) -> list[str]:
    """The persons that a viewer is; several where one viewer has several browsers."""
    mine = select(viewer_links.c.person_id).where(
        viewer_links.c.business_id == business_id, viewer_links.c.viewer_id == viewer_id
    )
    return list(tx.execute(mine.order_by(viewer_links.c.linked_at.desc()).limit(MOST)).scalars())


def list_links(tx: Tx, business_id: str) -> Mapping[str, list[str]]:
    """The viewers of every person of a business that is one."""
    return _by_person(tx, select(viewer_links).where(viewer_links.c.business_id == business_id))


def list_all_links(tx: Tx) -> Mapping[str, list[str]]:
    """The same of all businesses, for the files that hold all of them."""
    return _by_person(tx, select(viewer_links))


def _by_person(tx: Tx, links: Select[Any]) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in tx.execute(links.order_by(viewer_links.c.viewer_id)):
        found[row.person_id].append(row.viewer_id)
    return found
