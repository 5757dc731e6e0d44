"""The CRMs in memory, driven by the vendors' own client libraries: they answer as these expect it."""

from collections.abc import Iterator
from typing import Any, cast

import gspread
import hubspot
import pytest
import requests
from gspread.http_client import HTTPClient
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    PublicGdprDeleteInput,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import ApiException
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from contatto.crm.connectors.hubspot import OUR_ID as HUBSPOT_ID
from contatto.crm.connectors.salesforce import OUR_ID as SALESFORCE_ID
from contatto.simulator.crms.hosted import (
    GOOGLE_TOKEN,
    HUBSPOT_TOKEN,
    SALESFORCE_TOKEN,
    SHEET,
    SPREADSHEET,
    GoogleSheetsFake,
    HubSpotFake,
    SalesforceFake,
)
from contatto.simulator.crms.server import CrmServer


class ToServer(HTTPAdapter):
    """Leads what a client sends to its vendor's address to a server of this machine."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        host = (request.url or "").split("/")[2]
        request.url = (request.url or "").replace(f"https://{host}", self._address)
        return super().send(request, *args, **more)


def session_to(address: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", ToServer(address))
    return session


def errors_of(raised: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = raised.content
    return found


@pytest.fixture
def hubspot_server() -> Iterator[CrmServer]:
    with CrmServer(HubSpotFake()).running() as server:
        yield server


def test_hubspots_client_makes_upserts_finds_merges_and_erases_contacts(hubspot_server: CrmServer) -> None:
    client = hubspot.Client.create(access_token=HUBSPOT_TOKEN, host=hubspot_server.address)
    contacts = client.crm.contacts
    made = contacts.basic_api.create(
        simple_public_object_input_for_create=SimplePublicObjectInputForCreate(
            properties={"email": "ada@example.com"}, associations=[]
        )
    )
    with pytest.raises(ApiException) as raised:
        contacts.basic_api.create(
            simple_public_object_input_for_create=SimplePublicObjectInputForCreate(
                properties={"email": "ada@example.com"}, associations=[]
            )
        )
    assert raised.value.status == 409
    assert f"Existing ID: {made.id}" in raised.value.body
    hubspot_server.vendor.crm.fields[HUBSPOT_ID] = hubspot_server.vendor.crm.fields["message"]
    upsert = {
        "idProperty": HUBSPOT_ID,
        "id": "lead-1",
        "properties": {HUBSPOT_ID: "lead-1", "firstname": "Bo"},
    }
    done = contacts.batch_api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=[upsert]))
    assert done.results[0].properties["firstname"] == "Bo"
    again = contacts.batch_api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=[upsert]))
    assert again.results[0].id == done.results[0].id
    wanted = {"filters": [{"propertyName": "email", "operator": "EQ", "value": "ada@example.com"}]}
    found = contacts.search_api.do_search(PublicObjectSearchRequest(filter_groups=[wanted], limit=5))
    assert [each.id for each in found.results] == [made.id]
    changed = contacts.basic_api.update(made.id, SimplePublicObjectInput(properties={"lastname": "Tan"}))
    assert changed.properties["lastname"] == "Tan"
    merged = contacts.basic_api.merge(
        PublicMergeInput(primary_object_id=made.id, object_id_to_merge=again.results[0].id)
    )
    assert merged.id not in (made.id, again.results[0].id)
    for former in (made.id, again.results[0].id):
        assert contacts.basic_api.get_by_id(former).id == merged.id
    assert set(merged.properties["hs_merged_object_ids"].split(";")) == {made.id, again.results[0].id}
    contacts.basic_api.purge(PublicGdprDeleteInput(object_id=merged.id))
    with pytest.raises(ApiException) as raised:
        contacts.basic_api.get_by_id(made.id)
    assert raised.value.status == 404


def test_hubspots_client_reads_properties_and_owners(hubspot_server: CrmServer) -> None:
    client = hubspot.Client.create(access_token=HUBSPOT_TOKEN, host=hubspot_server.address)
    properties = client.crm.properties.core_api.get_all("contacts").results
    assert {"email", "hs_lead_status"} <= {each.name for each in properties}
    assert client.crm.owners.owners_api.get_page().results[0].email == "sam@example.com"


def test_salesforces_client_upserts_reads_queries_and_deletes_leads() -> None:
    vendor = SalesforceFake()
    with CrmServer(vendor).running() as server:
        client: Any = Salesforce(  # its records are attributes that nobody has described
            instance_url="https://example.my.salesforce.com",
            session_id=SALESFORCE_TOKEN,
            session=session_to(server.address),
            version="62.0",
        )
        values = {"LastName": "Tan", "Company": "Ada's", "Email": "ada@example.com"}
        assert client.Lead.upsert(f"{SALESFORCE_ID}/lead-1", values) == 201
        assert client.Lead.upsert(f"{SALESFORCE_ID}/lead-1", values) == 200
        lead = client.Lead.get_by_custom_id(SALESFORCE_ID, "lead-1")
        assert lead["Email"] == "ada@example.com"
        rows = client.query("SELECT Id, Email FROM Lead WHERE Email = 'ada@example.com' LIMIT 5")
        assert [row["Id"] for row in rows["records"]] == [lead["Id"]]
        with pytest.raises(SalesforceMalformedRequest) as raised:
            client.Lead.create({**values, SALESFORCE_ID: "lead-2"})
        assert errors_of(raised.value)[0]["errorCode"] == "DUPLICATES_DETECTED"
        with pytest.raises(SalesforceMalformedRequest) as raised:
            client.Lead.update(lead["Id"], {"Gone__c": "x"})
        assert errors_of(raised.value)[0]["errorCode"] == "INVALID_FIELD"
        assert client.Lead.update(lead["Id"], {"Status": "Qualified"}) == 204
        assert client.Lead.delete(lead["Id"]) == 204
        with pytest.raises(SalesforceResourceNotFound):
            client.Lead.get(lead["Id"])
        asked = f"SELECT Id, IsDeleted FROM Lead WHERE Id = '{lead['Id']}'"  # noqa: S608 - an id of ours
        everything = client.query(asked, include_deleted=True)
        assert everything["records"][0]["IsDeleted"] is True


def test_gspread_appends_reads_and_changes_rows() -> None:
    vendor = GoogleSheetsFake()
    vendor.rows = [["Lead ID", "Name"]]
    with CrmServer(vendor).running() as server:
        session = session_to(server.address)
        session.headers["Authorization"] = f"Bearer {GOOGLE_TOKEN}"
        client = gspread.Client(cast("Any", None), session=session, http_client=HTTPClient)
        sheet = client.open_by_key(SPREADSHEET).worksheet(SHEET)
        sheet.append_row(["lead-1", "=1+1"])
        assert sheet.get_all_values() == [["Lead ID", "Name"], ["lead-1", "=1+1"]]
        assert sheet.col_values(1) == ["Lead ID", "lead-1"]
        sheet.update([["lead-1", "Ada"]], "A2")
        assert sheet.row_values(2) == ["lead-1", "Ada"]
        sheet.spreadsheet.values_clear("'Leads'!2:2")
        assert sheet.col_values(1) == ["Lead ID"]
