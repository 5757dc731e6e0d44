"""What the API is asked about forms and leads, and how it finds them."""

from contatto.forms.model import FormVersion
from contatto.forms.store import records as store
from contatto.kit import errors
from contatto.kit.answers import Answer
from contatto.kit.api_types import ApiId, ApiModel
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.model.leads import LeadSource
from contatto.leads.rules.outside import LeadMeta


class OfPage(ApiModel):
    """A form of an ad account; forms belong to the business, so each of its ad accounts may name them."""

    advertiser_id: ApiId
    page_id: ApiId


class OfSource(ApiModel):
    """Leads of a form, which ``page_id`` names, or of the chat, which has none."""

    advertiser_id: ApiId
    lead_source: LeadSource = LeadSource.INSTANT_FORM
    page_id: ApiId | None = None


class LeadInfo(Answer, frozen=True):
    """A lead: the labels of its form with the answers, or the kinds of contact details with their values."""

    lead_data: dict[str, str]
    meta_data: LeadMeta


def load_page(tx: Tx, business_id: str, number: int) -> FormVersion:
    """A published form by its ``page_id``.

    Raises:
        Refused: NOT_FOUND.
    """
    version = store.find_version(tx, business_id, number)
    if version is None:
        raise Refused(errors.NOT_FOUND, "page_id: published form not found.")
    return version


def load_source(tx: Tx, business_id: str, wanted: OfSource) -> FormVersion | None:
    """The form of a source, or None for the chat.

    Raises:
        Refused: INVALID when ``page_id`` lacks or must not be there; NOT_FOUND.
    """
    if wanted.lead_source is LeadSource.DIRECT_MESSAGE:
        if wanted.page_id is not None:
            raise Refused(errors.INVALID, "page_id: leave it out with lead_source DIRECT_MESSAGE.")
        return None
    if wanted.page_id is None:
        raise Refused(errors.INVALID, "page_id: it is needed with lead_source INSTANT_FORM.")
    return load_page(tx, business_id, wanted.page_id)
