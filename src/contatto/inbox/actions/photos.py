"""Keeping pictures of conversations, and forgetting those that no message shows."""

from datetime import timedelta
from typing import Final

import msgspec

from contatto.channels.connectors.webchat import WebchatDelivery
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.registry import CONNECTORS
from contatto.inbox import rules
from contatto.inbox.actions.threads import message_id_of
from contatto.inbox.model import Photo
from contatto.inbox.store import photos, receipts
from contatto.kit.db.tx import Tx
from contatto.kit.pictures import Picture
from contatto.kit.timestamps import micros

KEEP_UNUSED: Final = timedelta(days=1)
"""A picture is kept before its message is; that long it may wait for it."""


def keep_photo(tx: Tx, business_id: str, picture: Picture) -> Photo:
    """Keep a picture for a business, once; the same one again is the same row."""
    photo = Photo(business_id, picture.digest, picture.media_type, picture.width, picture.height, tx.now)
    photos.save_photo(tx, photo, picture.body)
    return photo


def take_photo(
    tx: Tx, account: ChannelAccount, visitor: str, client_message_id: str, picture: Picture
) -> str:
    """Keep a visitor's photo together with its delivery; the same id again changes nothing.

    Returns:
        The id that the message will have.
    """
    photo = keep_photo(tx, account.business_id, picture)
    delivery = WebchatDelivery(account.id, visitor, client_message_id, "", micros(tx.now), photo.digest)
    body = msgspec.json.encode(delivery)
    label = CONNECTORS[Platform.WEBCHAT].label(body)
    row = rules.receipt_row(account.business_id, Platform.WEBCHAT, label, tx.now)
    receipts.append_receipt(tx, receipts.seal_receipt(tx.vault, row, body))
    return message_id_of(account, f"{visitor}:{client_message_id}")


def has_photo_to_forget(tx: Tx) -> bool:
    """Whether there is a picture whose message is gone, or never came."""
    return photos.has_unused_photo(tx, tx.now - KEEP_UNUSED)


def purge_photos(tx: Tx) -> int:
    """Forget some pictures whose messages are gone, or never came; say how many."""
    return photos.delete_unused_photos(tx, tx.now - KEEP_UNUSED)
