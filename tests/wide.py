"""Which tests are wide: `make test` leaves them out, `make test-wide` and `make test-all` make them.

The default run holds what the product promises: every pure rule, every store on both databases, every route
under attack on SQLite, the journeys, and a browser on the main pages. Wide is what is the same test once
more (a page on the second database, a further value there, a rule whose store has other tests there), the
tail of a matrix, and what plays a whole world or loads a real server.
"""

from collections.abc import Collection, Iterable
from typing import Final

HOUSES: Final = {"database_url", "served", "world", "fresh_world", "planted_world"}
"""Fixtures that start a whole house: what runs in one is the same test once more on the second database."""
WHOLE_HOUSES: Final = (
    "browser/",
    "cli/",
    "conformance/",
    "jobs/",
    "journeys/",
    "people/test_logins.py",
    "security/",
)
"""Folders that start at a route or a command; the stores below are tested on both databases elsewhere."""
EDGES: Final = ("_api.py", "_pages.py", "/test_api.py", "/test_pages.py", "/test_hostile.py")
"""In the other folders: the files that test routes."""
ON_POSTGRESQL_TOO: Final = (
    "jobs/test_actions.py",
    "leads/test_erasing.py",
    "people/test_members.py",
    "accounts/test_kept.py",
    "journeys/test_conversion_to_report.py",
    "journeys/test_message_to_lead.py",
    "security/test_raced.py",
)
"""What the default run makes on PostgreSQL too: locks, stores that are tested in a house alone, and a message
on its way to a report. Its rows of tenants are asked for in `kit/test_row_security.py`."""

FEW_ON_POSTGRESQL: Final = {
    "alerts/test_web_push.py": ("test_who_uses_a_browser",),
    "crm/test_comparing.py": ("test_after_a_restore", "test_who_was_erased"),
    "crm/test_engine.py": (
        "test_an_expired_token", "test_another_business", "test_merged_leads", "test_whatever_answer",
    ),
    "crm/test_merging_there.py": (
        "test_a_lead_that_many", "test_a_trial_finds", "test_of_two_leads_that_became_one",
    ),
    "delivery/test_actions.py": (
        "test_a_total_budget", "test_ads_of_another_business", "test_what_is_promised",
    ),
    "delivery/test_budgets.py": (
        "test_a_killed_server", "test_ad_groups_of_a_campaign_share", "test_charges_spend",
    ),
    "delivery/test_earning.py": ("test_a_placement_tells",),
    "delivery/test_exchanging.py": ("test_a_person_sees", "test_charges_spend", "test_no_balance"),
    "delivery/test_expecting.py": ("test_who_began",),
    "delivery/test_forgetting.py": ("test_the_log_loses", "test_what_another_business"),
    "delivery/test_lookalikes.py": ("test_a_person_who_is_erased", "test_ads_for_a_lookalike"),
    "delivery/test_sealing.py": ("test_an_erased_person", "test_each_entry", "test_old_files"),
    "delivery/test_training.py": ("test_another_business", "test_the_log_is_kept", "test_two_learners"),
    "inbox/test_batches.py": (),
    "inbox/test_sending.py": (
        "test_a_claim_whose_worker_died", "test_a_reply_goes", "test_another_business",
        "test_messages_that_failed", "test_replies_of_one_conversation", "test_the_token_is_sealed",
    ),
    "kit/test_live_readers.py": ("test_a_stream_ends", "test_an_event_that_says_not"),
    "leads/test_scoring.py": ("test_a_new_lead_is", "test_a_new_score", "test_leads_are_scored"),
    "people/test_members.py": ("test_the_last_owner", "test_one_s_own_sessions"),
    "reports/test_sources.py": ("test_a_qualified_lead", "test_an_ad_elsewhere", "test_rows_and_sources"),
    "reports/test_what_if.py": ("test_a_conversion_of_a_neighbour", "test_under_any_windows"),
    "signals/test_engine.py": (
        "test_captured_qualified", "test_killed_between", "test_leads_that_no_ad",
        "test_the_outcome_of_a_request",
    ),
    "accounts/test_kept.py": ("test_nobody_else", "test_what_is_kept"),
}  # fmt: skip
"""Files that ask many things of the same few statements, and those of their tests that meet these statements:
the default run makes these on PostgreSQL, the others on SQLite alone."""
VALUES_MATTER: Final = (
    "kit/",
    "measurement/",
    "leads/test_filters.py::test_pages_in",
    "leads/test_filters.py::test_the_later",
)
"""Where another value is another statement, or another type of a column."""

WIDE: Final = (
    # Real servers under load, and installations made by commands.
    "cli/test_serve.py::test_a_signal_ends_the_server_with_zero",
    "cli/test_serve.py::test_a_start_says_what_links_carry_and_they_follow_the_port",
    "tutorials/test_shell.py::test_an_operator",
    "browser/test_tutorial.py",
    "cli/test_serve.py::test_a_port_that_is_taken_ends_it_with_a_failure",
    "journeys/test_kill.py",
    "leads/test_erasing_beside.py::test_erasing_wins_over_work_that_runs_at_any_of_its_statements",
    "security/test_amplified.py",
    "security/test_bombed.py",
    "security/test_half_open.py",
    "security/test_private_files.py",
    "security/test_revoked.py::test_the_operators_command_ends_them_too",
    "security/test_revoked.py::test_the_command_revokes_a_token_too",
    "security/test_revoked.py::test_who_is_deactivated_gets_in_no_more",
    "security/test_starved.py::test_a_flood_of_webhooks_holds_up_no_lead_of_another",
    "security/test_starved.py::test_no_tenant_has_more_work_waiting_than_it_may",
    "security/test_starved_by_newcomers.py",
    # Worlds that are played for long, and orders that are tried by the thousand.
    "cli/test_simulate.py::test_a_run_prints_a_table_and_writes_plots_and_figures",
    "cli/test_simulate.py::test_the_same_seed_gives_the_same_figures",
    "conformance/test_openapi.py::test_a_token_without_the_scope",  # and security/test_another_role.py
    "conformance/test_openapi.py::test_whatever_is_sent_the_answer_is_a_documented_one",
    "delivery/test_deliver.py::test_a_killed_program_goes_on_as_if_nothing_had_happened",
    "delivery/test_deliver.py::test_a_state_of_another_seed_is_not_gone_on_with",
    *(
        f"delivery/test_deliver.py::test_a_setting_that_is_none_is_refused[{setting}]"
        for setting in ("explore", "explore=2", "explore=nan", "unheard=1")
    ),
    "delivery/test_deliver.py::test_a_rank_scores_every_candidate",
    "delivery/test_deliver.py::test_offers_reach_the_floor",
    "delivery/test_deliver.py::test_the_random_policy",
    "delivery/test_budgets.py::test_three_serving_processes_spend_one_budget",
    "delivery/test_frequency.py::test_three_serving_processes_keep_a_cap_together",
    "delivery/test_frequency.py::test_no_period_has_more_views_of_a_viewer_than_the_cap_allows[postgresql]",
    "delivery/test_classes.py::test_classes_are_the_same_compiled_and_as_python",
    "delivery/test_trials.py::test_a_decision_by_lot_is_made_again",
    "delivery/test_examples.py::test_logs_by_lot_come_out_as_by_plain_python[1767657600000000]",
    "delivery/test_nightly.py::test_a_model_goes_on_from_weights_that_were_learned_elsewhere",
    "delivery/test_training.py::test_a_damaged_model_is_refused_and_the_one_before_it_serves[sqlite-emptied]",
    "delivery/test_training.py::test_a_damaged_model_is_refused_and_the_one_before_it_serves[sqlite-digest]",
    "delivery/test_pacing.py::test_the_first_day_is_not_spent_ahead",
    "inbox/test_real_lines.py",
    "measurement/test_engines.py::test_a_thousand_small_worlds_come_out_as_by_brute_force[click_first]",
    "measurement/test_ingest.py",
    "simulator/test_demo.py::test_a_world_is_made_once_and_goes_on_until_it_was_cut_off",
    "simulator/test_engine.py::test_a_program_behind_a_pipe_gives_the_same_run",
    "simulator/test_engine.py::test_the_engine_that_takes_any_ad_keeps_the_rules_too",
    "simulator/test_history.py::test_the_history_of_the_demo",
    "simulator/test_run.py::test_what_people_did",
    "simulator/test_playing.py::test_leads_within_the_window",
    "simulator/test_playing.py::test_what_happens_agrees",
    "simulator/test_playing.py::test_lines_come_in_order_of_time_and_name_what_is_known[hours]",
    "simulator/test_playing.py::test_lines_come_in_order_of_time_and_name_what_is_known[interests]",
    "simulator/test_playing.py::test_lines_come_in_order_of_time_and_name_what_is_known[segments]",
    "simulator/test_playing.py::test_lines_come_in_order_of_time_and_name_what_is_known[strangers]",
    "simulator/test_playing.py::test_lines_come_in_order_of_time_and_name_what_is_known[thresholds]",
    "simulator/test_playing.py::test_a_player_that_keeps_the_rules_has_no_faults[hours]",
    "simulator/test_playing.py::test_a_player_that_keeps_the_rules_has_no_faults[interests]",
    "simulator/test_playing.py::test_a_player_that_keeps_the_rules_has_no_faults[segments]",
    "simulator/test_playing.py::test_a_player_that_keeps_the_rules_has_no_faults[strangers]",
    "simulator/test_playing.py::test_a_player_that_keeps_the_rules_has_no_faults[thresholds]",
    "simulator/test_engine.py::test_the_engine_keeps_every_rule_of_every_world[hours]",
    "simulator/test_engine.py::test_the_engine_keeps_every_rule_of_every_world[interests]",
    "simulator/test_engine.py::test_the_engine_keeps_every_rule_of_every_world[segments]",
    "simulator/test_engine.py::test_the_engine_keeps_every_rule_of_every_world[strangers]",
    "simulator/test_engine.py::test_the_engine_keeps_every_rule_of_every_world[thresholds]",
    "delivery/test_learner.py::test_kernels_give_the_same_numbers_compiled_and_as_python",
    "cli/test_serve.py::test_a_server_starts_without_what_only",
    "simulator/test_worlds.py::test_a_player_who_knows_gives_the_same_run_again",
    "simulator/test_worlds.py::test_the_more_a_player_knows_the_cheaper_its_leads_are[hours]",
    "simulator/test_worlds.py::test_the_more_a_player_knows_the_cheaper_its_leads_are[interests]",
    "simulator/test_worlds.py::test_the_more_a_player_knows_the_cheaper_its_leads_are[segments]",
    "simulator/test_worlds.py::test_the_more_a_player_knows_the_cheaper_its_leads_are[strangers]",
    "simulator/test_worlds.py::test_the_more_a_player_knows_the_cheaper_its_leads_are[thresholds]",
    # A real CRM is installed and killed; its connector is asked in test_vendors, too.
    "crm/test_tryton.py::test_a_lead_is_made_once",
    # The clients of CRMs' vendors take long to import; the failure kit plays HubSpot by default.
    "crm/test_vendor_clients.py",
    *(
        f"crm/test_failure_kit.py::test_nothing_is_lost_and_nothing_doubled_whatever_a_crm_does[{name}]"
        for name in (
            "google_sheets",
            "odoo",
            "pipedrive",
            "salesforce",
            "webhook",
            "zoho",
            "bottlecrm",
            "tryton",
        )
    ),
    # Matrices whose first rows stay in the default run.
    *(
        f"kit/test_pictures.py::test_the_most_pixels_of_a_format_fit_into_the_memory_of_a_child[{kind}]"
        for kind in ("GIF", "JPEG", "MPO", "WEBP")
    ),
    "kit/test_pictures.py::test_a_clear_picture_that_would_take_much",
    *(
        f"forms/test_links.py::test_a_draft_takes_no_address_that_runs_a_script[{script}"
        for script in ("JaVa", "java\\t", "\\x01", "vbscript", "blob", "javascript:1", "file")
    ),
    "reports/test_counts.py::test_counts_made_ahead_equal_a_full_count_whatever_comes_late[postgresql]",
    "security/test_another_operator.py::test_a_business_sees_nothing_of_what_is_shared_with_another",
    "reports/test_cold.py::test_a_file_cut_off_by_hand_is_named_and_what_was_counted_stays",
    "reports/test_cold.py::test_a_late_tap_on_a_day_whose_file_is_damaged_waits_until_it_is_back",
    "leads/test_jobs.py::test_all_that_match_are_changed_in_steps_and_undone_again[postgresql]",
    "reports/test_cold.py::test_after_each_step_of_a_drop_all_is_told_as_before[postgresql]",
    "reports/test_cold.py::test_a_file_that_is_damaged_is_not_built_upon[postgresql]",
    "reports/test_cold.py::test_nothing_is_dropped_that_is_young_or_not_sealed_or_not_counted[postgresql]",
    "reports/test_cold.py::test_killed_in_a_drop_nothing_is_lost_and_nothing_counts_twice",
    "reports/test_cold.py::test_what_comes_after_a_drop_ends_as_if_nothing_had_been_dropped[sqlite]",
    "reports/test_cold.py::test_while_views_are_dropped_every_reading_is_the_same[postgresql]",
    "security/test_another_role.py::test_a_session_is_no_token_and_a_token_is_no_session[sqlite-program]",
    "security/test_another_role.py::test_no_other_scope_opens_a_route",
    "security/test_hostile_fields.py::test_no_value_in_any_place_breaks_it[sqlite-3]",
    "security/test_hostile_fields.py::test_no_body_breaks_it[sqlite-2]",
    *(
        f"security/test_offers.py::test_what_a_role_is_offered_is_what_it_may_use[sqlite-{role}]"
        for role in ("admin", "manager", "owner")
    ),
    "security/test_sealed.py::test_no_log_line_holds_a_contact_value_or_a_name_though_everything_breaks[sqlite-info]",
    # Long walks with a browser; of each screen the one that most depend on stays.
    "browser/test_ad_drafts.py",
    "browser/test_ad_edits.py",
    "browser/test_ad_preview.py",
    "browser/test_ads_elsewhere.py",
    "browser/test_ads_manager.py",
    "browser/test_alerts.py",
    "browser/test_chat.py::test_a_file_that_is_no_photo",
    "browser/test_chat.py::test_a_form_that_came",
    "browser/test_chat.py::test_a_message_that_arrives",
    "browser/test_chat.py::test_a_page_hears_what_came",
    "browser/test_chat.py::test_photos_typing",
    "browser/test_chat.py::test_the_chat_stands",
    "browser/test_chat.py::test_who_is_slowed_down",
    "browser/test_chat_small.py",
    "browser/test_crm.py",
    "browser/test_every_screen.py",
    "browser/test_form_builder.py",
    "browser/test_form_in_chat.py",
    "browser/test_forms_and_tables.py::test_a_leap",
    "browser/test_forms_and_tables.py::test_a_table",
    "browser/test_forms_and_tables.py::test_an_account",
    "browser/test_forms_and_tables.py::test_cost_per_conversion",
    "browser/test_hostile.py",
    "browser/test_inbox.py::test_a_mention_",
    "browser/test_inbox.py::test_a_reply_that",
    "browser/test_inbox.py::test_a_slash",
    "browser/test_inbox.py::test_the_chat_page",
    "browser/test_inbox.py::test_the_list_of_keys",
    "browser/test_inbox.py::test_the_palette",
    "browser/test_inbox.py::test_the_second_of_two",
    "browser/test_inbox.py::test_what_is_sent_twice",
    "browser/test_lead_work.py::test_a_file_that_is_none",
    "browser/test_lead_work.py::test_a_number_that",
    "browser/test_lead_work.py::test_a_status_by_mistake",
    "browser/test_lead_work.py::test_a_tab_of_an_analyst",
    "browser/test_lead_work.py::test_a_workbook",
    "browser/test_lead_work.py::test_past_work",
    "browser/test_lead_work.py::test_who_was_slower",
    "browser/test_leads_center.py::test_a_file_is_shown",
    "browser/test_leads_center.py::test_a_phone",
    "browser/test_leads_center.py::test_filters",
    "browser/test_leads_center.py::test_people_are_erased",
    "browser/test_leads_center.py::test_rows_are_chosen",
    "browser/test_leads_center.py::test_three_leads",
    "browser/test_leads_center.py::test_two_leads",
    "browser/test_leads_center.py::test_what_one_member",
    "browser/test_people.py",
    "browser/test_reports.py",
)
"""Further wide tests: a file, or how a test begins, below `tests`."""


def is_wide(test: str, fixtures: Collection[str] = ()) -> bool:
    """Whether a test is wide, by its id as pytest writes it and by what it uses."""
    below = test.removeprefix("tests/")
    if below.startswith(WIDE):
        return True
    return _is_on_postgresql(below) and (
        _is_the_same_again(below, not HOUSES.isdisjoint(fixtures)) or _is_of_a_rule(below)
    )


def further_values(tests: Iterable[str]) -> set[str]:
    """Of each test that has several values on PostgreSQL, all but the first: the same SQL once more."""
    functions: set[str] = set()
    further: set[str] = set()
    for test in tests:
        function = test.partition("[")[0]
        if not _is_on_postgresql(test) or test.removeprefix("tests/").startswith(VALUES_MATTER):
            continue
        if function in functions:
            further.add(test)
        functions.add(function)
    return further


def _is_on_postgresql(test: str) -> bool:
    return "postgresql" in test.partition("[")[2]


def _is_of_a_rule(test: str) -> bool:
    file, _, name = test.partition("::")
    return file in FEW_ON_POSTGRESQL and not name.startswith(FEW_ON_POSTGRESQL[file])


def _is_the_same_again(test: str, in_a_house: bool) -> bool:
    file = test.partition("::")[0]
    is_of_an_edge = in_a_house or file.startswith(WHOLE_HOUSES) or file.endswith(EDGES)
    return is_of_an_edge and not file.startswith(ON_POSTGRESQL_TOO)
