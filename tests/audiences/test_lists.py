"""Lists of customers: what is read of them, what is wrong with them, and lookalikes of them."""

import asyncio
import hashlib
import json

import pytest

from contatto.accounts.model import AdAccount
from contatto.audiences import actions, store
from contatto.audiences.api import LookalikeBody
from contatto.audiences.model import Audience, AudienceKind, ListKind, LookalikeSize
from contatto.audiences.rules import NO_VALUE, Customers, read_customers, source_number, source_text, state_of
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from tests.ads.world import add_world


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


MEI, ANN = digest("mei@example.com"), digest("ann@example.com")
SHOP = digest("+6581234567")


def lines(found: Customers) -> list[int]:
    return [fault.line for fault in found.faults]


@pytest.mark.parametrize(
    "text",
    [
        "mei@example.com\nann@example.com",
        "\ufeffEmail\r\n Mei@Example.com \r\n\r\nANN@example.com\r\n",
        "name;e-mail\nMei;mei@example.com\nAnn;ann@example.com\nMei;MEI@example.com",
        f"email\n{MEI.upper()}\nann@example.com",
        "customers\nmei@example.com\nann@example.com",
    ],
)
def test_addresses_are_found_with_and_without_a_head_and_hashed_in_small_letters(text: str) -> None:
    assert read_customers(text, ListKind.EMAIL, "") == Customers((MEI, ANN), ())


def test_numbers_are_hashed_with_their_country() -> None:
    for text in ("+65 8123 4567", "phone,name\n8123 4567,Mei", "8123-4567\n+6581234567"):
        assert read_customers(text, ListKind.PHONE, "SG") == Customers((SHOP,), ())
    assert lines(read_customers("8123 4567\n+65 8123 4567", ListKind.PHONE, "")) == [1]


def test_each_wrong_line_is_named_by_its_number_and_not_quoted() -> None:
    found = read_customers("email,name\nmei@example.com,Mei\nmei@,Mei\n,Ann\n\nann,x", ListKind.EMAIL, "")
    assert found.digests == (MEI,)
    assert lines(found) == [3, 4, 6]
    assert {fault.says for fault in found.faults} == {NO_VALUE[ListKind.EMAIL]}
    assert lines(read_customers("mei@example.com\n+65 1", ListKind.PHONE, "SG")) == [1, 2]


def test_a_list_without_a_line_and_what_is_no_csv_are_refused() -> None:
    for text in ("", "\n \n", "email\n"):
        with pytest.raises(Refused) as refused:
            read_customers(text, ListKind.EMAIL, "")
        assert refused.value.code is errors.FILE_EMPTY
    with pytest.raises(Refused):
        read_customers('"' + "x" * 200_000, ListKind.EMAIL, "")


@pytest.fixture
def account(database: Database) -> AdAccount:
    return database.write_now(add_world).ad_account


def made(database: Database, account: AdAccount) -> Audience:
    prints = actions.blind_digests(database.vault, account.business_id, (MEI, ANN))
    kind = ListKind.EMAIL.value

    def build(tx: Tx) -> Audience:
        file = actions.upload_file(tx, account, kind, prints)
        return actions.create_audience(
            tx, account, actions.NewAudience("Regulars", calculate_type=kind), [file.path]
        )

    audience = database.write_now(build)
    asyncio.run(actions.finish_changes(database, account.business_id, [audience.id]))
    return audience


def test_an_audience_of_a_list_has_its_members_and_keeps_no_value(
    database: Database, account: AdAccount
) -> None:
    audience = made(database, account)
    members = database.read_now(lambda tx: store.list_members(tx, account.business_id, audience.id))
    assert members == set(actions.blind_digests(database.vault, account.business_id, (MEI, ANN)))
    assert (state_of(audience, 2)[0], state_of(audience, 0)[0]) == ("Ready", "Empty")
    assert source_text(audience) == "List of e-mail addresses"


def test_a_lookalike_is_what_the_api_makes(database: Database, account: AdAccount) -> None:
    source = made(database, account)
    new = (account, "Like them", source, LookalikeSize.BROAD)
    likes = database.write_now(lambda tx: actions.create_lookalike_of(tx, *new))
    sent = LookalikeBody(source_audience_id=source.number, audience_size="BROAD")
    assert json.loads(likes.spec) == json.loads(sent.model_dump_json())
    assert (likes.kind, source_number(likes)) == (AudienceKind.LOOKALIKE, source.number)
    assert state_of(likes, 0)[0] == "Processing"
    with pytest.raises(Refused):
        database.write_now(lambda tx: actions.create_lookalike_of(tx, account, "Again", likes, new[3]))
