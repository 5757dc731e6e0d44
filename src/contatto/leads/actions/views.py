"""Saved views: keeping a filter under a name, sharing and pinning it."""

from dataclasses import replace
from typing import Final

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.leads.model.annotations import Actor, SavedView
from contatto.leads.rules.annotations import read_view_name
from contatto.leads.store import views as store

MOST_VIEWS: Final = 50
"""Views that one member may make."""


def keep_view(tx: Tx, actor: Actor, name: str, query: str, *, is_shared: bool) -> SavedView:
    """Keep a query of the list under a name; a new view is pinned.

    Raises:
        Refused: INVALID.
    """
    tx.hold_key("views", actor.business_id, actor.member_id)
    if store.count_views(tx, actor.business_id, actor.member_id) >= MOST_VIEWS:
        raise Refused(
            errors.INVALID, "name: you have the maximum of %(most)s views. Delete one first.", most=MOST_VIEWS
        )
    view = SavedView(
        id=new_id(),
        member_id=actor.member_id,
        name=read_view_name(name),
        query=query,
        is_shared=is_shared,
        is_pinned=True,
        created_at=tx.now,
    )
    store.save_view(tx, actor.business_id, view)
    return view


def pin_view(tx: Tx, actor: Actor, view_id: str, *, is_pinned: bool) -> None:
    """Show a view above the list, or only in the menu.

    Raises:
        Refused: NOT_FOUND.
    """
    view = _seen_view(tx, actor, view_id)
    store.record_view(tx, actor.business_id, replace(view, is_pinned=is_pinned))


def share_view(tx: Tx, actor: Actor, view_id: str, *, is_shared: bool) -> None:
    """Let all of the business see a view, or keep it to oneself again.

    Raises:
        Refused: NOT_FOUND; FORBIDDEN for the view of somebody else.
    """
    view = _own_view(tx, actor, view_id)
    store.record_view(tx, actor.business_id, replace(view, is_shared=is_shared))


def remove_view(tx: Tx, actor: Actor, view_id: str) -> None:
    """Delete a view of one's own.

    Raises:
        Refused: NOT_FOUND; FORBIDDEN for the view of somebody else.
    """
    store.delete_view(tx, actor.business_id, _own_view(tx, actor, view_id).id)


def _seen_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    views = store.list_views(tx, actor.business_id, actor.member_id)
    found = next((view for view in views if view.id == view_id), None)
    if found is None:
        raise Refused(errors.NOT_FOUND, "View not found.")
    return found


def _own_view(tx: Tx, actor: Actor, view_id: str) -> SavedView:
    view = _seen_view(tx, actor, view_id)
    if view.member_id != actor.member_id:
        raise Refused(errors.FORBIDDEN, "Only the member who made this view can change it.")
    return view
