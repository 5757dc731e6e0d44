"""Explaining decisions from the log: why this ad, and why not mine."""

from dataclasses import dataclass
from enum import StrEnum

from contatto.delivery.actions.packing import load_added, read_record
from contatto.delivery.actions.serving import seed_of
from contatto.delivery.actions.training import rebuild_marketplace
from contatto.delivery.model.log import Record
from contatto.delivery.predict.explained import Explained, explain_record
from contatto.delivery.store import log as entries
from contatto.delivery.store import models
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused


class Verdict(StrEnum):
    """What became of an ad in an auction."""

    SHOWN = "shown"
    OUTBID = "outbid"
    BELOW_FLOOR = "below_floor"
    LEFT_OUT = "left_out"
    NOT_LIVE = "not_live"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what it rested on; ``explained`` is None when what it rested on is not kept."""

    record: Record
    explained: Explained | None

    @property
    def is_erased(self) -> bool:
        """Return whether its viewer was erased: then it cannot be made again."""
        return not self.record.known

    def verdict_of(self, ad: int, ad_group: int) -> tuple[Verdict, str]:
        """What became of an ad, and for one that was left out why."""
        if ad == self.record.ad:
            return Verdict.SHOWN, ""
        if ad not in self.record.ads:
            why = self.record.left_out.get(ad_group, "")
            return (Verdict.LEFT_OUT, why) if why else (Verdict.NOT_LIVE, "")
        offer = self.explained.offers.get(ad, 0) if self.explained else 0
        is_low = self.explained is not None and offer < self.record.floor_micros
        return (Verdict.BELOW_FLOOR if is_low else Verdict.OUTBID), ""


def explain_decision(tx: Tx, business_id: str, nonce: int) -> Explanation:
    """Make a decision of the log again, and say why it came out so.

    Raises:
        Refused: NOT_FOUND when the log does not have it, or no longer.
    """
    entry = entries.find_decision(tx, business_id, nonce)
    if entry is None:
        raise Refused(errors.NOT_FOUND)
    record = read_record(entry.body)
    if Explanation(record, None).is_erased:
        return Explanation(record, None)
    if not load_added(tx, business_id, record):
        return Explanation(record, None)
    if not record.version:
        return Explanation(record, explain_record(seed_of(business_id), None, record))
    raw = _model_of(tx, business_id, record.version)
    explained = None if raw is None else explain_record(seed_of(business_id), raw, record)
    return Explanation(record, explained)


def _model_of(tx: Tx, business_id: str, version: int) -> bytes | None:
    """The bytes of a model, or the same bytes made anew from one before it and the log."""
    raw = models.load_model(tx, business_id, version)
    if raw is not None:
        return raw
    found = next((model for model in models.list_models(tx, business_id) if model.version == version), None)
    built = None if found is None else rebuild_marketplace(tx, business_id, found.through)
    return None if built is None else built.marketplace.save()
