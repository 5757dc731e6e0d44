"""Which CRMs there are in memory, and what a lead is in the fields of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from contatto.simulator.crms import (
    bottlecrm,
    google_sheets,
    hubspot,
    odoo,
    pipedrive,
    salesforce,
    tryton,
    webhook,
    zoho,
)
from contatto.simulator.crms.server import Vendor


@dataclass(frozen=True)
class Case:
    """One CRM in memory.

    Attributes:
        vendor: makes it, empty.
        settings, secrets: what a link to it has.
        ada: a lead, by the CRM's own names of its fields.
        email, phone: which of those hold contact details.
        bad_value: a field with a list, and a value that it does not have.
        one_per_email: it refuses a second record with the same e-mail address.
        tells_merges: it says which record a merged one became.
        names_fields: it refuses a field that it does not have, and names it.
    """

    connector: str
    vendor: Callable[[], Vendor]
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    ada: Mapping[str, str]
    email: str
    phone: str
    bad_value: tuple[str, str] | None = None
    one_per_email: bool = True
    tells_merges: bool = True
    names_fields: bool = True


_ALL: Final = (
    Case(
        "hubspot",
        hubspot.HubSpotFake,
        {},
        {"access_token": hubspot.TOKEN},
        {"email": "ada@example.com", "phone": "+6591234567", "firstname": "Ada", "lastname": "Tan"},
        "email",
        "phone",
        ("hs_lead_status", "SMITTEN"),
    ),
    Case(
        "salesforce",
        salesforce.SalesforceFake,
        {"client_id": "x", "currency": "EUR"},
        {"access_token": salesforce.TOKEN},
        {"Email": "ada@example.com", "Phone": "+6591234567", "LastName": "Tan", "Company": "Ada's"},
        "Email",
        "Phone",
        ("LeadSource", "Dream"),
    ),
    Case(
        "google_sheets",
        google_sheets.GoogleSheetsFake,
        {"spreadsheet": google_sheets.SPREADSHEET, "sheet": google_sheets.SHEET},
        {"access_token": google_sheets.TOKEN},
        {"Name": "Ada Tan", "E-mail": "ada@example.com", "Phone": "+6591234567"},
        "E-mail",
        "Phone",
        one_per_email=False,
        tells_merges=False,
    ),
    Case(
        "zoho",
        zoho.ZohoFake,
        {"client_id": "x"},
        {"access_token": zoho.TOKEN},
        {"Email": "ada@example.com", "Phone": "+6591234567", "Last_Name": "Tan"},
        "Email",
        "Phone",
        ("Lead_Status", "Smitten"),
        tells_merges=False,
        names_fields=False,
    ),
    Case(
        "pipedrive",
        pipedrive.PipedriveFake,
        {"id_field": pipedrive.OUR_FIELD},
        {"api_token": pipedrive.TOKEN},
        {"email": "ada@example.com", "phone": "+6591234567", "name": "Ada Tan"},
        "email",
        "phone",
        ("b7d1", "9"),
        one_per_email=False,
        tells_merges=False,
    ),
    Case(
        "odoo",
        odoo.OdooFake,
        {"database": odoo.DATABASE, "user": odoo.USER},
        {"password": odoo.KEY, "session": str(odoo.UID)},
        {"email_from": "ada@example.com", "phone": "+6591234567", "name": "Ada Tan"},
        "email_from",
        "phone",
        ("priority", "9"),
        one_per_email=False,
        tells_merges=False,
    ),
    Case(
        "tryton",
        tryton.TrytonFake,
        {"database": tryton.DATABASE, "user": tryton.USER},
        {"password": tryton.PASSWORD, "session": tryton.SESSION},
        {"email": "ada@example.com", "phone": "+6591234567", "name": "Ada Tan"},
        "email",
        "phone",
        one_per_email=False,
    ),
    Case(
        "bottlecrm",
        bottlecrm.BottleFake,
        {},
        {"access_token": bottlecrm.TOKEN},
        {"email": "ada@example.com", "phone": "+6591234567", "last_name": "Tan", "title": "Ada Tan"},
        "email",
        "phone",
        ("status", "smitten"),
        tells_merges=False,
        names_fields=False,
    ),
    Case(
        "webhook",
        webhook.WebhookReceiver,
        {},
        {"secret": webhook.SECRET},
        {"email": "ada@example.com", "phone": "+6591234567", "name": "Ada Tan"},
        "email",
        "phone",
        one_per_email=False,
        tells_merges=False,
        names_fields=False,
    ),
)

CASES: Final[Mapping[str, Case]] = {each.connector: each for each in _ALL}
"""By the name of the connector. Tryton and BottleCRM are tried as they are, too."""
