"""Every read of a store names the business whose rows it may see."""

from pathlib import Path

from tests.house.tree import READS, ROOT, arguments, parse, plant, public_functions, short, storage

WITHOUT_BUSINESS = {
    "ad_platforms/store.py:find_outside_token": "The account that it takes names the business.",
    "ad_platforms/store.py:list_account_ads": "The account that it takes names the business.",
    "ad_platforms/store.py:list_ad_days": "The account that it takes names the business.",
    "ad_platforms/store.py:list_ad_sums": "The account that it takes names the business.",
    "ad_platforms/store.py:list_nodes": "The account that it takes names the business.",
    "crm/store/deliveries.py:is_echo": "The target that it takes names the business.",
    "crm/store/deliveries.py:find_swept_target": "For the worker, who works for all of them.",
    "crm/store/deliveries.py:has_sweep": "For the worker, who works for all of them.",
    "crm/store/deliveries.py:list_all_targets": "For the timer, and for who signs with a target's secret.",
    "accounts/store.py:list_members_by_email": "The log-in finds the member, and by the member the business.",
    "accounts/store.py:find_session_member": "The cookie's secret hash finds the member and the business.",
    "accounts/store.py:find_user_by_email": "People belong to no business: one signs in for all.",
    "accounts/store.py:count_memberships": "One person's own places, in each of their businesses.",
    "accounts/store.py:list_workplaces": "One person's own places, in each of their businesses.",
    "accounts/store.py:find_token": "The token's secret hash finds the business.",
    "accounts/store.py:list_session_rights": "Their tokens' secret hashes find the sessions that still last.",
    "accounts/store.py:list_businesses": "For timers and the operator, who works for all of them.",
    "ads/store.py:list_ads_in_review": "For the operator, who reviews the ads of all of them.",
    "audiences/store.py:list_due_lookalikes": "For the timer, who works for all of them.",
    "alerts/store.py:has_due_alert": "For the timer, who works for all of them.",
    "alerts/store.py:list_alerted_businesses": "For the worker, who works for all of them.",
    "inbox/store/desk.py:list_reply_targets": "For the timer, who works for all of them.",
    "leads/store/records.py:list_due_tasks": "For the timer, who works for all of them.",
    "capture/store.py:find_application": "For the operator, who reviews the applications of all of them.",
    "capture/store.py:list_applications": "For the operator, who reviews the applications of all of them.",
    "channels/store.py:list_apps_named": "A webhook names only the app; a secret tells whose is meant.",
    "channels/store.py:list_public_accounts": "The chat page is public, and its address names the account.",
    "channels/store.py:list_registration_countries": "For the worker, which loads the number plans of all.",
    "inbox/store/desk.py:list_ended_snoozes": "For the timer, who works for all of them.",
    "subscriptions/store.py:list_subscribed_businesses": "For the worker, who works for all of them.",
    "delivery/store.py:list_streams_to_learn": "For the worker, who works for all of them.",
    "spam/store.py:list_businesses_to_learn": "For the timer, who works for all of them.",
    "leads/store/jobs.py:list_jobs_with_plans": "Its conditions name the business, except for the timer.",
    "leads/store/jobs.py:list_free_businesses": "For the worker, who works for all of them.",
    "signals/store.py:list_signal_businesses": "For who watches the installation as a whole.",
    "delivery/engines/files.py:list_batches": "A folder of examples is made of files of one business.",
    "inbox/store/messages.py:is_answer_of_person": "A condition of a query, which reads nothing itself.",
    "measurement/store.py:list_candidates": "The conversion that it takes names the business.",
    "measurement/store.py:list_winnable": "The conversions that it takes name their businesses.",
    "measurement/store.py:find_measured_ads": "The pairs that it takes name their businesses.",
    "measurement/store.py:list_changed_accounts": "For the worker, who works for all of them.",
    "measurement/engines/sealing.py:list_next_views": "A sealed file holds a day of all of them.",
    "measurement/engines/sealing.py:list_view_sums": "What is viewed names the business.",
    "measurement/engines/sealing.py:list_viewers": "What is viewed names the business.",
    "measurement/engines/sealing.py:load_whole": "A sealed file holds a day of all of them.",
    "measurement/engines/sealing.py:list_sealed_files": "A sealed file holds a day of all of them.",
    "measurement/engines/events.py:list_attributions": "The operator's files of `contatto attribute`.",
    "measurement/engines/events.py:load_report": "The operator's files of `contatto attribute`.",
    "measurement/engines/sealing.py:list_broken": "A sealed file holds a day of all of them.",
    "measurement/engines/staging.py:load_package": "Loads code of the engine, and no rows.",
    "measurement/engines/staging.py:load_tables": "The operator's files of `contatto attribute`.",
    "operators/store.py:list_operators": "What is open to all businesses, by its name alone.",
    "operators/store.py:list_owners_of_placements": "A signed link names the placement.",
    "operators/store.py:list_placement_names": "Of placements that charged it, by name alone.",
    "reports/engines.py:list_accounts_behind": "For the worker, who works for all of them.",
    "reports/engines.py:list_busy_accounts": "For the worker, who works for all of them.",
}
"""The reads that may span businesses, each with its reason."""


def reads_without_business(root: Path) -> list[str]:
    """A filter of events (``reports/engines.EventFilter``) names its business; an operator is a tenant."""
    found, names = [], {"business_id", "operator_id", "events"}
    for path in storage(root):
        for function in public_functions(parse(path)):
            if function.name.startswith(READS) and not names & arguments(function):
                found.append(f"{short(root, path)}:{function.name}".removeprefix("src/contatto/"))
    return found


def test_every_read_takes_the_business() -> None:
    assert set(reads_without_business(ROOT)) - set(WITHOUT_BUSINESS) == set()


def test_no_exception_outlives_its_function() -> None:
    assert set(WITHOUT_BUSINESS) - set(reads_without_business(ROOT)) == set()


def test_a_read_across_businesses_is_found(tmp_path: Path) -> None:
    text = (
        "def find_lead(tx, lead_id): ...\ndef list_leads(tx, *, business_id): ...\ndef save_lead(tx): ...\n"
    )
    plant(tmp_path, "src/contatto/leads/store.py", text)
    assert reads_without_business(tmp_path) == ["leads/store.py:find_lead"]
