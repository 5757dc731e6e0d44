"""Every id of a business in the database, by the names that paths, queries, forms and bodies give it."""

from typing import Final

from sqlalchemy import select

from contatto.kit.db.tx import Tx, metadata

PLACES: Final = {
    "account_id": ("channel_accounts.id",),
    "ad_id": ("ads.number",),
    "adgroup_id": ("ad_groups.number",),
    "ad_account_id": ("ad_accounts.id",),
    "advertiser_id": ("ad_accounts.number",),
    "app_id": ("channel_apps.app_id",),
    "audience_id": ("audiences.number",),
    "auto_message_id": ("welcome_messages.number",),
    "browser_id": ("push_browsers.id",),
    "business_id": ("businesses.id", "channel_accounts.external_id", "channel_accounts.id"),
    "campaign_id": ("campaigns.number",),
    "channel_account_id": ("channel_accounts.id",),
    "conversation_id": ("conversations.id", "conversations.external_id"),
    "conversion_id": ("conversions.conversion_id",),
    "custom_audience_id": ("audiences.number",),
    "decision_id": ("delivery_log.nonce",),
    "delivery_id": ("crm_deliveries.id",),
    "digest": ("form_pictures.digest", "photos.digest"),
    "event_set_id": ("crm_event_sets.number",),
    "failed_id": ("jobs.id",),
    "file_path": ("audience_files.path",),
    "form_id": ("forms.id",),
    "identity_id": ("channel_accounts.id", "channel_accounts.external_id"),
    "invitation_id": ("invitations.id",),
    "job_id": ("lead_jobs.id",),
    "label_id": ("labels.id",),
    "lead_id": ("leads.id", "leads.number"),
    "media_id": ("photos.digest",),
    "member_id": ("members.id",),
    "merge_id": ("lead_merges.id",),
    "message_id": ("messages.id",),
    "note_id": ("lead_notes.id",),
    "outside_id": ("outside_accounts.id",),
    "page_id": ("form_versions.number", "forms.number"),
    "point_id": ("contact_points.id",),
    "push_id": ("pushes.id",),
    "rejected_id": ("rejected_contacts.id",),
    "reply_id": ("scheduled_replies.id", "saved_replies.id"),
    "report_id": ("saved_reports.id",),
    "session_id": ("sessions.id",),
    "signal_id": ("ad_signals.id",),
    "subscription_id": ("subscriptions.number",),
    "target_id": ("crm_targets.number",),
    "task_id": ("lead_tasks.id", "export_jobs.number"),
    "token_id": ("api_tokens.id",),
    "view_id": ("lead_views.id",),
}
"""Where the values of a name stand: table and column."""

DEAD_LETTERS: Final = {"jobs.id": "job-"}
"""Places of which the dead letters alone are meant, and what is written before their numbers."""
ROWS_MEANT: Final = {
    **dict.fromkeys(DEAD_LETTERS, ("state", "dead")),
    "delivery_log.nonce": ("kind", "decision"),
}
"""Places of which some rows alone are meant: those that have this value in this column."""

ALSO_CALLED: Final = {
    "event_source_id": "event_set_id", "smart_plus_ad_id": "ad_id", "smart_plus_ad_ids": "ad_id",
    "recipient": "conversation_id", "ids": "lead_id", "keep": "lead_id", "other_id": "lead_id",
    "owner": "member_id", "source": "audience_id", "source_audience_id": "audience_id",
    "lead_ids": "lead_id", "file_paths": "file_path", "selected": "conversation_id", "ad": "ad_id",
    "ad_group": "adgroup_id", "campaign": "campaign_id", "label": "label_id", "form": "form_id",
    "account": "account_id", "excluded_audience_ids": "audience_id", "event_set_ids": "event_set_id",
    "decision": "decision_id",
}  # fmt: skip
"""Other names for the same ids; a name that ends in ``_ids`` is a list of what it is called without."""


def place_of(name: str) -> str | None:
    """The name under which ids of a parameter or a field are known, if it is one of an id."""
    for each in (name, ALSO_CALLED.get(name, ""), name.removesuffix("s")):
        if each in PLACES:
            return each
    return None


def ids_of(tx: Tx, business_id: str) -> dict[str, tuple[str, ...]]:
    """All ids of a business, by name; the first of each name are those of its first place."""
    return {name: tuple(_found(tx, business_id, places)) for name, places in PLACES.items()}


def _found(tx: Tx, business_id: str, places: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for place in places:
        name, _, column = place.partition(".")
        table = metadata.tables[name]
        of = table.c.id if name == "businesses" else table.c.business_id
        wanted = select(table.c[column]).where(of == business_id).order_by(table.c[column])
        if place in ROWS_MEANT:
            named, value = ROWS_MEANT[place]
            wanted = wanted.where(table.c[named] == value)
        before = DEAD_LETTERS.get(place, "")
        found += [f"{before}{value}" for (value,) in tx.execute(wanted) if value not in (None, "", 0)]
    return list(dict.fromkeys(found))
