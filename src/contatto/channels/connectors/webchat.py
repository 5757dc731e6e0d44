"""Connector of our own chat page, which has no webhook."""

from typing import Annotated, Final

import msgspec

from contatto.channels import model
from contatto.kit.values import JSON_ERRORS, from_micros

_LATEST_US: Final = 4_102_444_800_000_000
"""The year 2100: a time beyond it is a mistake."""


class WebchatDelivery(msgspec.Struct):
    """Message from our chat page or API, stored like a webhook delivery.

    ``visitor`` is verified, ``photo`` names a stored picture, ``ts`` is in microseconds.
    """

    account_id: str
    visitor: str
    client_message_id: str
    text: str
    ts: Annotated[int, msgspec.Meta(ge=0, le=_LATEST_US)]
    photo: str = ""


_deliveries: Final = msgspec.json.Decoder(WebchatDelivery)


class Webchat(model.Connector):
    platform = model.Platform.WEBCHAT
    dialect = model.Dialect(base_url="", text_limit=6_000, takes_photos=True)

    def label(self, raw: bytes) -> model.Label:
        try:
            delivery = _deliveries.decode(raw)
        except JSON_ERRORS:
            return model.Label.of_unreadable(raw)
        return model.Label(
            f"{delivery.account_id}:{delivery.visitor}:{delivery.client_message_id}", delivery.account_id
        )

    def parse(self, raw: bytes) -> model.Incoming:
        try:
            delivery = _deliveries.decode(raw)
        except JSON_ERRORS:
            return model.Unusable("unreadable_envelope")
        return model.Chatted(
            message_id=f"{delivery.visitor}:{delivery.client_message_id}",
            conversation_id=delivery.visitor,
            person_id=delivery.visitor,
            person_name="",
            sender=model.Sender.CUSTOMER,
            kind=model.MessageKind.PHOTO if delivery.photo else model.MessageKind.TEXT,
            text=delivery.text,
            at=from_micros(delivery.ts),
            photo=delivery.photo,
        )
