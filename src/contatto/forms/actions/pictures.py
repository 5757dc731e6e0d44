"""Keeping the pictures of forms, and forgetting those that no form shows."""

from datetime import timedelta
from typing import Final

from contatto.forms.store.pictures import (
    delete_unused_form_pictures,
    has_unused_form_picture,
    save_form_picture,
)
from contatto.kit.db.tx import Tx
from contatto.kit.pictures import Picture

KEEP_UNUSED: Final = timedelta(days=1)
"""A picture is kept before the draft that shows it is saved."""


def keep_form_picture(tx: Tx, business_id: str, picture: Picture) -> str:
    """Keep a picture for the forms of a business, once; the draft that is saved next names it.

    Returns:
        The hash of its content.
    """
    digest = picture.digest
    save_form_picture(tx, business_id, digest, picture.media_type, picture.body)
    return digest


def has_form_picture_to_forget(tx: Tx) -> bool:
    """Whether there is a picture that no form shows (any more)."""
    return has_unused_form_picture(tx, tx.now - KEEP_UNUSED)


def purge_form_pictures(tx: Tx) -> int:
    """Forget some pictures that no form shows (any more); say how many."""
    return delete_unused_form_pictures(tx, tx.now - KEEP_UNUSED)
