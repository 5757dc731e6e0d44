"""Handing the leads of forms and ads out: as entries, and as files that are made in the background."""

from collections.abc import Sequence
from typing import Final

from contatto.forms.actions.records import find_published, find_test_lead
from contatto.forms.model import FormVersion
from contatto.forms.rules.files import Entry, ad_table, form_table, pack_file
from contatto.forms.rules.outside import sample_answers, without_wrong
from contatto.forms.store import records as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.log import logger, where
from contatto.kit.making import Making, Record
from contatto.leads.actions import files as lead_files
from contatto.leads.rules.files import LeadFile
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.credits import list_credits
from contatto.leads.store.files import WAITING
from contatto.leads.store.listing import list_leads_after
from contatto.leads.store.records import list_leads_by_id, list_outgoing_points, list_wrong_values
from contatto.measurement.store import find_measured_ad_by_number


def make_lead_file(tx: Tx, file: LeadFile) -> Record:
    """Read what a file holds, and give what keeps it; one that cannot be made is marked as failed."""
    try:
        packed = pack_file(_file_table(tx, file))
    except Exception as error:  # one bad file must not hold up the others
        logger().warning("lead_file.failed", task_id=file.id, error_at=where(error))
        return lambda tx: lead_files.fail_lead_file(tx, file)
    return lambda tx: lead_files.keep_lead_file(tx, file, *packed)


LEAD_FILES: Final = Making(WAITING, lead_files.claim_lead_file, lead_files.renew_lead_file, make_lead_file)
"""Files of leads that programs asked for."""


def _file_table(tx: Tx, file: LeadFile) -> list[Sequence[str]]:
    if file.ad_number:
        ad = find_measured_ad_by_number(tx, file.business_id, file.ad_number)
        version = find_published(tx, file.business_id, ad.page_id) if ad else None
        return ad_table(version, list_ad_entries(tx, file.business_id, file.ad_number, version))
    version = store.find_version(tx, file.business_id, file.page_number)
    if version is None:
        raise Refused(errors.NOT_FOUND)
    return form_table(version, list_form_entries(tx, version, file.ad_account_id))


def list_form_entries(
    tx: Tx, version: FormVersion, ad_account_id: str, most: int | None = None
) -> list[Entry]:
    """The leads of a form that no other ad account of ours earned: its test lead, then the latest first."""
    business_id = version.business_id
    test = find_test_lead(tx, business_id, version)
    sample = sample_answers(version.content, version.number)
    found = {test.id: Entry(test, None, version=version, answers=sample)} if test else {}
    before: store.Place | None = None
    while page := store.list_answers_of_version(tx, business_id, version.id, before, most or 500):
        owners = list_leads_by_id(tx, business_id, {answer.lead_id for answer in page})
        wrong = list_wrong_values(tx, business_id, {lead.id for lead in owners.values()})
        earned = list_credits(tx, business_id, {lead.id for lead in owners.values()})
        for answer in page:
            lead = owners.get(answer.lead_id)
            ad = earned[lead.id][1] if lead is not None and lead.id in earned else None
            is_of_another = ad is not None and not ad.is_outside and ad.ad_account_id != ad_account_id
            if lead and lead.hidden_at is None and not is_of_another:
                answers = without_wrong(answer.answers, wrong[lead.id])
                found.setdefault(lead.id, Entry(lead, ad, version=version, answers=answers))
        before = (page[-1].at, page[-1].id)
        if most is not None and len(found) >= most:
            break
    return list(found.values())


def list_ad_entries(tx: Tx, business_id: str, ad_number: int, version: FormVersion | None) -> list[Entry]:
    """The leads that an ad earned, of the chat and of its form, latest first."""
    found: list[Entry] = []
    wanted = LeadFilter(ads=(ad_number,))
    page = list_leads_after(tx, business_id, wanted, None)
    while page:
        ids: set[str] = {lead.id for lead in page}
        earned = list_credits(tx, business_id, ids)
        points = list_outgoing_points(tx, business_id, ids)
        wrong = list_wrong_values(tx, business_id, ids)
        sent = store.list_answers_of_leads(tx, business_id, ids)
        for lead in page:
            own = [each for each in sent.get(lead.id, ()) if version and each.version_id == version.id]
            ad = earned[lead.id][1] if lead.id in earned else None
            form = (version, without_wrong(own[0].answers, wrong[lead.id])) if own else (None, ())
            found.append(Entry(lead, ad, points[lead.id], *form))
        page = list_leads_after(tx, business_id, wanted, page[-1])
    return found
