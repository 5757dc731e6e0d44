"""The ad that opened a person's chat: the one that they tapped last."""

from contatto.channels.model import ChannelAccount
from contatto.inbox.actions.threads import person_id_of
from contatto.kit.db.tx import Tx
from contatto.measurement import store as measurement_store
from contatto.measurement.model import MeasuredAd, Touch


def find_tapped_ad(tx: Tx, account: ChannelAccount, visitor: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a visitor, with its ad."""
    return find_tapped_of(tx, account.business_id, person_id_of(tx.vault, account, visitor))


def find_tapped_of(tx: Tx, business_id: str, person_id: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a person, with its ad."""
    touch = measurement_store.find_last_tap(tx, business_id, person_id)
    ad = measurement_store.find_measured_ad(tx, business_id, touch.ad_id) if touch else None
    return (touch, ad) if touch and ad else None
