"""Going back to an earlier model, when what was learned since is found to be wrong."""

from dataclasses import replace

from contatto.delivery.model.log import ModelVersion
from contatto.delivery.store import log as entries
from contatto.delivery.store import models
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.timestamps import micros


def roll_back_model(tx: Tx, business_id: str, version: int) -> ModelVersion:
    """Publish an earlier model anew; what came after it is not learned again, what comes now is.

    Raises:
        Refused: NOT_FOUND when there is no such model, or its bytes are no longer kept or damaged.
    """
    found = next((model for model in models.list_models(tx, business_id) if model.version == version), None)
    raw = models.load_model(tx, business_id, version) if found is not None else None
    if found is None or raw is None:
        raise Refused(
            errors.NOT_FOUND, "Model not found, or its file is missing or damaged. Choose another version."
        )
    stream = entries.find_stream(tx, business_id)
    through = 0 if stream is None else stream.last_seq
    newest = models.find_newest_version(tx, business_id)
    now, origin = micros(tx.now), f"model {version}"
    made = replace(found, version=newest + 1, through=through, made_at=now, origin=origin, entries=0)
    if not models.save_model(tx, made, raw):
        raise Refused(errors.CONFLICT)
    entries.record_rolled_back(tx, business_id, through)
    return made
