"""A shop whose chats the tests fill."""

import pytest

from contatto.kit.db.database import Database
from tests import make
from tests.make import Shop


@pytest.fixture
def shop(database: Database) -> Shop:
    return database.write_now(make.shop)
