"""The world that the attacks happen in holds something of everything, so that nothing goes unattacked."""

from sqlalchemy import Table, func, select

from contatto.kit.db.postgres import tenant_column
from contatto.kit.db.tx import Tx, metadata
from tests.security.ids import PLACES, place_of
from tests.security.routes import every_way
from tests.security.world import Tenant, World

NEVER_FILLED = {
    "changed_days", "report_counts", "dropped_views",
    "operators", "placements", "admission_codes", "asked_days", "placement_sightings",  # of an operator alone
    "lead_scores", "lead_models",  # from twenty good and twenty bad leads
    "delivery_influences", "delivery_relearnings",  # from fifty views, and from many in files
    "spam_weights",  # learned by the clock, from twenty marks
    "decision_files", "forgotten_viewers",  # decisions that the clock seals, and whom these forget
    "audience_changes",  # a request ends its change, unless it takes long
    "crm_echoes",  # of what a CRM answered; nothing leaves this machine
}  # fmt: skip
"""What the clock counts, what is left of views that went to the cold log, and what no door leads to yet."""
NO_IDS = {
    "folder", "page",  # of a document
    "connector", "kind", "number", "parent", "platform", "path",
    "token",  # of an address that we signed: `Tenant.links`
}  # fmt: skip
"""Parameters of paths that name no row by themselves; `attacks.addresses` knows what goes there."""


def test_both_tenants_have_rows_in_every_table(world: World) -> None:
    tables = [each for each in metadata.sorted_tables if tenant_column(each) is not None]

    def count(tx: Tx, table: Table, tenant: Tenant) -> int:
        of = table.c[str(tenant_column(table))] == tenant.business_id
        return int(tx.scalar(select(func.count()).select_from(table).where(of)))

    for tenant in (world.victim, world.attacker):
        empty = world.context.db.read_now(
            lambda tx, tenant=tenant: {each.name for each in tables if not count(tx, each, tenant)}
        )
        assert empty <= NEVER_FILLED, "have `filling` make a row of each new table through its door"


def test_every_parameter_of_a_path_has_ids(world: World) -> None:
    names = {name for way in every_way() for name in way.parameters}
    assert {name for name in names if place_of(name) is None} <= NO_IDS, "add it to `ids.PLACES`"
    for tenant in (world.victim, world.attacker):
        assert {name for name in PLACES if not tenant.ids[name]} == set()


def test_the_tenants_share_no_word_no_number_and_no_id(world: World) -> None:
    victim, attacker = world.victim, world.attacker
    assert not victim.tells_of(repr(attacker))
    shared = {name for name in PLACES if set(victim.ids[name]) & set(attacker.ids[name])}
    assert shared == set()
