"""Each sentence of the page on security, and the tests that show it.

A sentence is known by a few of its words. It is in :data:`SHOWN` with its tests, in :data:`READ` if only reading the
code shows it, or in :data:`PROMISES_NOTHING`. So whoever adds a sentence says here what shows it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "explanation" / "security.md").read_text()
WORDS = 8
"""The most words by which a sentence is known."""

MOST_READ = 12

SHOWN: dict[str, tuple[str, ...]] = {
    # --- Secrets at rest ---
    "The database holds secrets as sealed bytes only": (
        "sealing/test_envelope.py::test_the_layout_is_that_of_the_design",
        "app/test_secrets.py::test_no_secret_is_found_where_it_does_not_belong",
    ),
    "Of accounts' passwords it holds hashes": (
        "app/test_init.py::test_init_without_a_terminal_writes_the_password_to_a_file_and_is_idempotent",
    ),
    "a value copied to another row cannot be": ("sealing/test_envelope.py::test_a_value_opens_nowhere_else",),
    "The root key wraps the data keys": (
        "sealing/test_keyring.py::test_the_rows_say_nothing_about_the_keys",
        "sealing/test_keyring.py::test_a_damaged_data_key_is_told_from_a_wrong_root_key",
    ),
    "It is a file of 32 random bytes": (
        "sealing/test_sources.py::test_a_root_key_is_made_and_read",
        "sealing/test_sources.py::test_a_credential_of_systemd_may_show_its_access_list",
        "test_settings.py::test_root_key_file",
    ),
    "A check value refuses a wrong root key": (
        "sealing/test_keyring.py::test_the_wrong_root_key_is_refused_by_name",
        "app/test_init.py::test_a_root_key_that_is_not_the_one_is_refused",
    ),
    "Only a file of `keystead backup` may hold": (
        "app/test_backup.py::test_nothing_is_in_clear",
        "sealing/test_passphrases.py::test_another_passphrase",
    ),
    "Without the root key the database's secrets": ("sealing/test_envelope.py::test_another_key_does_not_open_it",),
    "These are the only secrets in clear files": (
        "app/test_secrets.py::test_no_secret_is_found_where_it_does_not_belong",
    ),
    "the first password if no terminal showed it": (
        "app/test_init.py::test_init_without_a_terminal_writes_the_password_to_a_file_and_is_idempotent",
        "app/test_init.py::test_on_a_terminal_the_password_is_shown_once_and_not_written",
    ),
    "a database URL in `keystead.toml`": ("test_settings.py::test_database_password_in_a_readable_file",),
    "a user's own command-line profile": ("cli/test_scripts.py::test_what_commands_print",),
    "through an anonymous memory file": (
        "app/test_core_dumps.py::test_a_process_forbids_its_core_dumps",
        "keyservers/test_contexts.py::test_our_certificate_is_shown",
    ),
    "encrypted under a random password": ("keyservers/test_contexts.py::test_the_key_is_never_in_a_clear_file",),
    # --- A node that joins ---
    "gives it to one node, over a listener": (
        "app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",
        "app/test_joining.py::test_a_token_is_good_once",
    ),
    "The API never gives the root key": (
        "app/test_secrets.py::test_no_secret_is_found_where_it_does_not_belong",
        "app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",
    ),
    "Only who has a node's data directory": ("app/test_joining.py::test_sqlite_and_removed_nodes_invite_nobody",),
    "has the SHA-256 of the inviter's certificate": (
        "app/test_joining.py::test_another_certificate_is_noticed_before_anything_is_sent",
    ),
    "A new node that is shown another certificate": (
        "app/test_joining.py::test_another_certificate_is_noticed_before_anything_is_sent",
    ),
    "has 160 random bits": (
        "sealing/test_joining.py::test_tokens",
        "app/test_joining.py::test_a_token_is_good_once",
        "app/test_joining.py::test_an_invitation_expires",
    ),
    "Three wrong tokens end the invitation": ("app/test_joining.py::test_three_wrong_tokens_end_an_invitation",),
    "The token never crosses the network": (
        "app/test_joining.py::test_a_message_that_is_passed_on_is_of_no_use",
        "app/test_joining.py::test_an_answer_of_somebody_else_is_not_taken",
    ),
    "The MAC covers the new node's public key": (
        "sealing/test_joining.py::test_a_proof_is_about_both_parties_and_the_content",
        "app/test_joining.py::test_a_message_that_is_passed_on_is_of_no_use",
    ),
    "compares the fingerprint of the new node's key": (
        "app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",
        "app/test_joining.py::test_the_operator_refuses",
    ),
    "are **sealed** to the new node's key": ("sealing/test_joining.py::test_only_the_key_opens_what_was_sealed_to_it",),
    "made this key for the invitation": ("app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",),
    "The invitation and what became of it": (
        "app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",
        "app/test_joining.py::test_the_operator_refuses",
        "app/test_joining.py::test_ctrl_c_ends_an_invitation",
    ),
    "The record that the root key was given": ("app/test_joining.py::test_no_root_key_leaves_without_a_record",),
    "Both are alerts": (
        "app/test_joining.py::test_a_new_node_joins_and_no_secret_is_seen",
        "app/test_joining.py::test_three_wrong_tokens_end_an_invitation",
    ),
    "can end it by wrong tokens": ("app/test_joining.py::test_three_wrong_tokens_end_an_invitation",),
    # --- What key servers can read ---
    "each copy on a server that takes Secret": (
        "service/keys/writing/test_create.py::test_what_is_written_beside_a_copy",
        "service/keys/keeping/test_settle.py::test_copies_are_described_later",
    ),
    "so that a lost database can be": ("service/keys/rebuilding/test_rebuild.py::test_every_key_comes_back",),
    "It is JSON in the clear, under a": (
        "core/keys/test_descriptors.py::test_it_is_read_as_it_was_written",
        "core/keys/test_descriptors.py::test_an_altered_one_is_none",
    ),
    "name, tag, type, length, time of creation": ("core/keys/test_descriptors.py::test_what_is_said_of_a_key",),
    "the uuids of the key, its SVM and": (
        "core/keys/test_descriptors.py::test_what_is_said_of_a_key",
        "core/keys/test_descriptors.py::test_what_was_adopted",
    ),
    "the keyed digest of the material": ("core/keys/test_digests.py::test_a_digest_is_hmac_of_uuid_and_material",),
    "although not in the objects' names": ("core/keys/test_names.py::test_names",),
    "only Keystead can write a descriptor": (
        "core/keys/test_descriptors.py::test_one_of_another_key_manager_is_none",
        "service/keys/rebuilding/test_rebuild.py::test_descriptors_are_believed_if_they_are_ours",
    ),
    # --- Accounts and roles ---
    "there is no default password": (
        "app/test_init.py::test_init_without_a_terminal_writes_the_password_to_a_file_and_is_idempotent",
        "app/test_init.py::test_the_password_file_is_taken_as_it_is",
    ),
    "checks only the length of a given password": (
        "app/test_init.py::test_the_password_file_is_taken_as_it_is",
        "app/test_init.py::test_a_password_that_cannot_be_used_makes_nothing",
    ),
    "The API also asks for a digit": ("core/test_accounts.py::test_passwords",),
    "Only accounts with the role `admin` make more": (
        "api/test_access_matrix.py::test_every_cell",
        "api/test_custom_roles.py::test_no_custom_role_writes_accounts",
    ),
    "Every account with a built-in role may change": (
        "api/test_accounts.py::test_accounts_change_their_own_password_and_nothing_else",
    ),
    "A name is unique in the whole cluster": ("api/test_accounts.py::test_a_name_is_taken_in_the_whole_cluster",),
    "a login needs the exact name": (
        "store/test_contract.py::test_accounts_that_differ_in_case_are_alike",
        "service/accounts/test_logins.py::test_anything_else_is_refused_alike",
    ),
    "No SVM may have the cluster's name": (
        "api/test_svms_and_cluster.py::test_a_name_means_the_cluster_or_one_svm",
        "service/configuration/test_key_managers_races.py::test_a_name_is_the_clusters_or_an_svms",
    ),
    "The last unlocked `admin` with a password": (
        "api/test_accounts.py::test_an_administrator_remains",
        "service/accounts/test_accounts.py::test_administrators_cannot_remove_each_other",
    ),
    "Whoever holds the data directory and the root": (
        "app/test_reset_password.py::test_the_old_password_ends_at_once_on_a_node_that_runs",
        "app/test_reset_password.py::test_another_root_key_opens_nothing",
    ),
    "That is an alert": (
        "app/test_reset_password.py::test_the_old_password_ends_at_once_on_a_node_that_runs",
        "service/accounts/test_accounts.py::test_a_grant_of_key_reading_is_announced_with_the_change",
        "service/audit/test_reads.py::test_the_first_read_of_an_account_is_announced_once",
    ),
    "everything, except to read key material": ("api/test_access_matrix.py::test_every_cell",),
    "see everything (GET), except key material": ("api/test_access_matrix.py::test_every_cell",),
    "key stores, certificates and signing requests of its": ("api/test_access_matrix.py::test_every_cell",),
    "read the same": ("api/test_access_matrix.py::test_every_cell",),
    "use the objects of its application over KMIP": (
        "kmip_api/test_operations.py::test_applications_do_not_see_each_other",
        "api/test_access_matrix.py::test_every_cell",
    ),
    "no other role may read key material": (
        "core/test_access.py::test_one_role_alone_reads_keys",
        "api/test_retrieve.py::test_nobody_else_gets_it",
    ),
    "shows the table that decides": ("api/test_accounts.py::test_a_role_shows_the_table_that_decides",),
    "A custom role (`POST /api/security/roles`": (
        "api/test_custom_roles.py::test_a_role_is_made_shown_and_deleted",
        "cli/test_scripts.py::test_what_commands_print",
    ),
    "What it does not name is denied": (
        "core/test_roles.py::test_a_custom_role_grants_what_it_names",
        "api/test_access_matrix.py::test_a_custom_role_is_obeyed_everywhere",
    ),
    "It grants no more than its maker has": (
        "core/test_roles.py::test_nobody_grants_more_than_they_have",
        "core/test_roles.py::test_no_custom_role_reads_key_material",
        "api/test_custom_roles.py::test_a_role_that_writes_roles_grants_nothing_it_lacks",
    ),
    "A role of an SVM is made by": (
        "api/test_custom_roles.py::test_an_svms_administrators_write_no_roles",
        "core/test_roles.py::test_a_role_of_an_svm_grants_no_more_than_vsadmin",
    ),
    "An account with a custom role cannot write": ("api/test_custom_roles.py::test_no_custom_role_writes_accounts",),
    "A changed role counts with the next": (
        "api/test_custom_roles.py::test_a_changed_role_counts_at_once",
        "store/test_accounts.py::test_custom_roles_are_read_with_their_accounts",
    ),
    "A role that an account has is not": ("api/test_custom_roles.py::test_privileges_are_added_changed_and_removed",),
    "Whoever may install certificates can install a `client_ca`": (
        "service/accounts/test_certificate_logins.py::test_a_chain_says_who_calls_and_is_verified_once",
    ),
    "The longest path that fits a request counts": ("core/test_access.py::test_the_longest_path_that_fits_counts",),
    "GET needs `readonly`, POST `read_create`": ("core/test_access.py::test_an_access_is_for_some_methods",),
    "403, code 6, before the body is read": ("api/test_auth.py::test_readonly_writes_nothing",),
    "Passwords are hashed with argon2id": (
        "sealing/test_passwords.py::test_hashes_have_the_designs_cost_and_a_salt",
        "sealing/test_passwords.py::test_at_most_two_are_computed_at_a_time",
    ),
    "A verified credential is remembered": (
        "service/accounts/test_logins.py::test_a_verified_credential_is_not_hashed_again",
        "service/accounts/test_logins.py::test_a_remembered_credential_fits_no_other_password",
    ),
    "It is forgotten five minutes after the last": (
        "service/accounts/test_logins.py::test_a_credential_is_forgotten_when_it_is_not_used",
    ),
    "Every request compares that version": (
        "service/accounts/test_logins.py::test_a_changed_account_is_asked_again_at_once",
        "service/accounts/test_logins.py::test_a_locked_account_is_refused",
        "api/test_accounts.py::test_a_change_counts_with_the_next_request",
    ),
    "After failures a login waits": (
        "service/accounts/test_logins.py::test_slowing_grows_to_two_seconds_and_no_further",
        "service/accounts/test_logins.py::test_failed_logins_slow_the_next_of_the_same_account_and_address",
    ),
    "A verified credential never waits": (
        "service/accounts/test_logins.py::test_a_known_credential_is_never_slowed",
        "service/accounts/test_logins.py::test_nobody_is_locked_out",
    ),
    "as by a new password, ends its delays": (
        "service/accounts/test_logins.py::test_a_change_of_the_account_ends_the_delays",
    ),
    "A login of an account without a password": (
        "service/accounts/test_logins.py::test_an_unknown_account_costs_the_time_of_a_known_one",
    ),
    "accepted without a look at the account's row": (
        "service/accounts/test_logins.py::test_a_credential_can_be_recalled_when_the_database_fails",
    ),
    "It then reads `/metrics` and": (
        "api/test_health.py::test_metrics_are_shown_when_the_database_fails",
        "app/test_reading_without_database.py::test_keys_in_memory_are_read_while_the_database_is_away",
    ),
    "Such calls do not prolong the five minutes": (
        "service/accounts/test_logins.py::test_a_credential_can_be_recalled_when_the_database_fails",
    ),
    "by another node counts at once if": (
        "app/test_withdrawals.py::test_a_node_that_is_cut_off_serves_nothing_that_was_withdrawn",
    ),
    "Else no key is read any more": (
        "app/test_withdrawals.py::test_a_node_that_is_cut_off_from_the_others_too_serves_until_the_limit",
    ),
    # --- Between nodes ---
    "Nodes tell each other": (
        "app/test_withdrawals.py::test_a_node_that_is_cut_off_serves_nothing_that_was_withdrawn",
    ),
    "No account may call this path": ("api/test_peers.py::test_only_messages_of_nodes_are_taken",),
    "The receiver takes a message only from": (
        "service/cluster/test_peers.py::test_a_message_is_taken_once",
        "service/cluster/test_peers.py::test_a_message_of_somebody_else_is_refused",
    ),
    "A refused message is in the log": ("api/test_peers.py::test_only_messages_of_nodes_are_taken",),
    "A message can withdraw, never grant": (
        "service/test_offline.py::test_what_is_withdrawn_is_forgotten_until_a_comparison",
    ),
    "The sender talks only to a server that": (
        "forwarding/test_sender.py::test_another_certificate_of_the_same_ca_is_not",
    ),
    "A message holds key ids, names of accounts": (
        "core/test_withdrawals.py::test_a_message_is_read_as_it_was_written",
    ),
    # --- What an SVM sees ---
    "An account of an SVM sees its own": ("api/test_access_matrix.py::test_lists_hold_what_the_role_sees",),
    "answered exactly like something that does not exist": ("api/test_access_matrix.py::test_every_cell",),
    "That holds for status, body, headers, counts": (
        "api/test_access_matrix.py::test_every_cell",
        "api/test_access_matrix.py::test_filters_find_nothing_of_others",
        "api/test_access_matrix.py::test_records_that_name_others_fail_as_missing_ones",
        "api/test_access_matrix.py::test_pages_lead_to_own_things_only",
        "api/test_audit.py::test_an_svm_reads_what_concerns_it",
        "service/configuration/test_key_managers.py::test_an_svms_call_names_its_own_certificates_only",
    ),
    "foreign rows are not even read": (
        "api/test_access_timing.py::test_foreign_and_missing_take_the_same_time",
        "store/test_contract.py::test_within_an_svm_what_is_foreign_is_not_there",
    ),
    "in the cluster's key manager, a key's name": (
        "api/test_volume_keys.py::test_an_svm_creates_keys_in_the_clusters_key_manager",
    ),
    "Whose key has it is not said": ("api/test_volume_keys.py::test_an_svm_creates_keys_in_the_clusters_key_manager",),
    "confined in the same way by `X-Dot-SVM-Name`": (
        "api/test_tunnelling.py::test_a_tunnelled_call_sees_one_svm",
        "api/test_tunnelling.py::test_an_object_outside_of_the_tunnel_is_missing",
    ),
    "An SVM that does not exist is 2621462": ("api/test_tunnelling.py::test_an_svm_account_names_its_own_svm_only",),
    "A contradiction between the headers": (
        "api/test_tunnelling.py::test_contradictions_are_refused",
        "api/test_tunnelling.py::test_what_is_created_belongs_to_the_tunnels_svm",
    ),
    "A contradiction with the query is 262186": ("api/test_tunnelling.py::test_contradictions_are_refused",),
    "only such a call can adopt or dismiss": (
        "service/keys/orphans/test_adopt.py::test_who_lists_and_adopts",
        "service/keys/orphans/test_adopt.py::test_an_svm_adopts_nothing_in_its_own_key_manager",
        "service/keys/orphans/test_dismiss.py::test_what_cannot_be_dismissed",
    ),
    "An error has the code and the stage": (
        "service/probing/test_prober.py::test_reasons_are_for_accounts_of_the_cluster",
    ),
    "name the failed stage only: no times": (
        "service/probing/test_prober.py::test_a_dry_run_shows_no_more",
        "service/probing/test_prober.py::test_a_probe_of_stored_servers_shows_no_more",
        "core/test_probing.py::test_a_record_says_which_certificates_were_shown",
    ),
    "[Attention](": ("api/test_attention.py::test_an_svm_sees_its_own",),
    "show it its own servers, with": (
        "core/test_availability.py::test_what_accounts_of_the_cluster_see_of_a_server_that_failed",
    ),
    "There `egress` looks like `resolve`": (
        "core/attention/test_key_managers.py::test_what_an_account_of_the_svm_is_told",
        "core/test_availability.py::test_what_accounts_of_the_cluster_see_of_a_server_that_failed",
    ),
    "name a certificate that a key server showed": (
        "api/test_attention.py::test_an_svm_hears_of_certificates_that_its_cas_proved",
        "monitor/test_certificates.py::test_what_no_ca_proved_is_announced_to_the_cluster",
    ),
    "a forbidden IP address has the stage `egress`": (
        "core/test_probing.py::test_of_a_forbidden_ip_address_the_stage_is_told",
        "api/test_own_addresses.py::test_an_account_of_an_svm_hears_of_egress_only",
    ),
    "A name of a forbidden address looks like": (
        "core/test_probing.py::test_an_address_that_is_not_allowed_looks_like_a_name_that_leads_nowhere",
    ),
    "come after whole seconds": ("service/probing/test_prober.py::test_what_may_not_be_reached_leads_nowhere",),
    "a refused private address can only be": (
        "keyservers/test_egress.py::test_permitted",
        "keyservers/test_egress.py::test_own_addresses",
    ),
    "The full reason is in the service's log": (
        "keyservers/test_probe.py::test_a_refusal_is_logged_with_its_reason",
        "service/probing/test_prober.py::test_reasons_are_for_accounts_of_the_cluster",
    ),
    "`connectivity` shows the names of nodes": (
        "core/test_availability.py::test_what_accounts_of_the_cluster_see_of_a_server_that_failed",
    ),
    "Probes have limits per account, per SVM": (
        "service/probing/test_queue.py::test_bounded_in_all_and_per_account",
        "service/probing/test_queue.py::test_the_accounts_of_an_svm_share",
    ),
    # --- Login by client certificate ---
    "logs in with a TLS client certificate": ("app/test_certificate_login.py::test_a_certificate_logs_in",),
    "must have exactly one common name": (
        "core/test_client_login.py::test_the_account_is_the_common_name",
        "app/test_certificate_login.py::test_certificates_that_name_nobody",
    ),
    "certificate **of the account's owner**": (
        "app/test_certificate_login.py::test_an_svms_ca_vouches_for_its_svm_alone",
        "service/accounts/test_certificate_logins.py::test_who_proves_nothing",
    ),
    "A self-signed certificate may be installed": (
        "app/test_certificate_login.py::test_a_self_signed_certificate_that_is_installed",
    ),
    "Certificates must be X.509 version 3": (
        "core/test_client_login.py::test_a_certificate_of_version_1_proves_nothing",
    ),
    "TLS client must be among them": ("core/test_client_login.py::test_what_proves_nothing",),
    "the account: not locked, and the method still": (
        "service/accounts/test_certificate_logins.py::test_every_request_reads_the_account",
    ),
    "the CA: still installed, with the same owner": (
        "service/accounts/test_certificate_logins.py::test_every_request_reads_the_ca",
    ),
    "the dates of the whole chain": (
        "core/test_client_login.py::test_a_proof_ends_with_its_certificates",
        "service/accounts/test_certificate_logins.py::test_a_remembered_chain_ends_with_its_certificates",
    ),
    "ends logins on open connections": (
        "app/test_certificate_login.py::test_a_removed_ca_ends_logins_on_open_connections",
    ),
    "no session is resumed": (
        "app/test_certificate_login.py::test_no_session_is_resumed",
        "app/test_tls.py::test_a_context_that_keeps_a_session_is_used_no_more",
    ),
    "There is never a renegotiation": (
        "app/test_certificate_login.py::test_nothing_is_renegotiated",
        "app/test_tls.py::test_nobody_is_asked_without_cas",
    ),
    "A Basic credential counts before a certificate": (
        "app/test_certificate_login.py::test_a_basic_credential_counts_before_a_certificate",
    ),
    "Clients are asked for a certificate only while": (
        "app/test_tls.py::test_nobody_is_asked_without_cas",
        "app/test_tls.py::test_cas_are_followed",
    ),
    "one of an SVM that has an account": ("store/test_accounts.py::test_the_cas_that_vouch_for_accounts",),
    "A client without a certificate is not affected": (
        "app/test_certificate_login.py::test_who_has_no_certificate_is_unaffected",
    ),
    "is refused in the handshake, as OpenSSL does": (
        "app/test_certificate_login.py::test_a_certificate_that_tls_refuses",
    ),
    "It cannot use a password on that connection": (
        "app/test_certificate_login.py::test_a_certificate_that_tls_refuses",
    ),
    "the SVM's CA is left out": (
        "core/test_client_login.py::test_an_svms_ca_cannot_hide_one_of_the_cluster",
        "app/test_certificate_login.py::test_an_svms_namesake_of_a_ca_spoils_nothing",
    ),
    # --- Audit ---
    "Every change, and every key read, refusal": (
        "service/audit/test_log.py::test_a_changes_record_is_in_its_transaction",
        "service/audit/test_log.py::test_a_refusals_record_has_its_code_and_text",
        "service/audit/test_reads.py::test_a_read_is_in_the_chain_when_it_is_answered",
        "api/test_audit.py::test_a_change_and_a_refusal_are_read_back",
    ),
    "in the change's own transaction": (
        "service/audit/test_log.py::test_a_changes_record_is_in_its_transaction",
        "service/audit/test_log.py::test_without_the_change_there_is_no_record",
    ),
    "A refusal's is in a transaction of its": (
        "service/audit/test_log.py::test_a_refusals_record_has_its_code_and_text",
    ),
    "the log has the loss": (
        "service/audit/test_log.py::test_a_refusal_that_cannot_be_recorded_is_logged_only",
        "api/test_errors.py::test_a_refusal_stands_without_its_record",
    ),
    "counted per minute, account and address": (
        "service/audit/test_log.py::test_failed_logins_are_one_record_per_minute_account_and_address",
    ),
    "Above 1024 such counts": ("service/audit/test_log.py::test_a_flood_of_names_is_bounded",),
    "A GET, HEAD or OPTIONS that the role": (
        "api/test_audit.py::test_a_denied_read_is_recorded_once_whatever_the_options_say",
        "api/test_audit.py::test_reads_are_recorded_once_asked_for",
    ),
    "durable before the material leaves": (
        "api/test_retrieve.py::test_every_reading_is_recorded_and_material_is_not",
        "service/audit/test_reads.py::test_without_database_and_spool_no_read_is_answered",
        "store/test_sqlite.py::test_every_connection_is_set_up",
        "store/test_postgres.py::test_a_commit_waits_for_the_disk",
    ),
    "Its message is `retrieval of key KEY_ID, read": (
        "service/audit/test_reads.py::test_a_read_is_in_the_chain_when_it_is_answered",
    ),
    "together are one record, with their number": (
        "service/audit/test_reads.py::test_reads_of_one_key_by_one_account_from_one_address_are_one_record",
        "service/audit/test_reads.py::test_reads_that_share_a_record_share_its_fate",
    ),
    "The read id is random, another for each": (
        "service/audit/test_reads.py::test_reads_that_come_together_are_few_commits",
    ),
    "from getting into the chain twice": (
        "service/audit/test_reads.py::test_a_commit_of_which_nobody_knows_is_in_the_chain_once",
        "service/audit/test_reads.py::test_while_the_database_is_away_reads_are_spooled_and_then_merged_once",
    ),
    "An SVM reads the records about its own": (
        "api/test_audit.py::test_an_svm_reads_what_concerns_it",
        "service/audit/test_log.py::test_failed_logins_of_an_svms_account_are_its_to_read",
    ),
    "only if the call had found something": (
        "service/audit/test_log.py::test_a_refusal_is_the_callers_svms",
        "api/test_errors.py::test_a_refusal_names_its_svm",
        "api/test_audit.py::test_an_svm_reads_what_concerns_it",
    ),
    "An SVM sees no `index`": ("api/test_audit.py::test_an_svm_cannot_count_what_others_do",),
    "Each node's records form a chain": (
        "core/test_audit.py::test_another_nodes_records_do_not_pass_for_its_own",
        "store/test_contract.py::test_an_audit_chain_grows_and_is_read_in_slices",
    ),
    "under a key derived from the root key": (
        "core/test_audit.py::test_missing_and_moved_records_are_found",
        "sealing/test_keyring.py::test_the_audit_mac_is_under_a_key_derived_from_the_root_key",
    ),
    "names the first record that was altered": (
        "app/test_init.py::test_audit_verify_finds_what_was_changed",
        "core/test_audit.py::test_missing_and_moved_records_are_found",
    ),
    "so a node without records is reported": (
        "service/audit/test_log.py::test_a_chain_that_was_deleted_as_a_whole_is_reported",
    ),
    "The MAC does not cover two columns": ("core/test_audit.py::test_every_altered_field_is_found_where_it_is",),
    "`read_id` is a copy of the read id": (
        "core/test_audit.py::test_a_read_id_that_is_not_the_one_in_the_message_is_found",
        "store/test_contract.py::test_reads_that_are_recorded_are_found_by_their_ids",
    ),
    "`key` sorts the records of all nodes": ("core/test_audit.py::test_records_of_all_nodes_are_ordered_by_time",),
    "checks both against the record": (
        "service/audit/test_reads.py::test_a_read_id_that_was_changed_breaks_the_chain",
        "service/audit/test_reads.py::test_a_sort_key_that_was_changed_breaks_the_chain",
    ),
    "Old records may be removed](../how-to": (
        "service/cluster/test_audit_retention.py::test_what_nothing_has_stays",
        "app/test_backup.py::test_a_backup_notes_what_audit_records_it_has",
    ),
    "has the index and MAC of the last": (
        "service/cluster/test_audit_retention.py::test_what_is_too_much_goes_and_the_chain_says_so",
    ),
    "A record of the chain has the same": (
        "core/test_audit_retention.py::test_the_record_of_a_cut_tells_all_of_it",
        "service/cluster/test_audit_retention.py::test_what_was_done_to_a_cut_is_reported",
    ),
    "So whoever else removes records still breaks": (
        "service/cluster/test_audit_retention.py::test_what_was_done_to_a_cut_is_reported",
        "service/cluster/test_audit_retention.py::test_a_cut_that_somebody_moved_on_with_its_row_is_reported",
    ),
    "`audit_saves` notes what is saved": (
        "service/cluster/test_audit_retention.py::test_a_forged_note_removes_nothing",
        "core/test_audit_retention.py::test_a_note_that_was_altered_is_not_genuine",
    ),
    "The database alone cannot show": ("core/test_audit.py::test_an_end_that_was_right_once_is_right_again",),
    "the shorter chain looks whole": ("core/test_audit.py::test_an_end_that_was_right_once_is_right_again",),
    "prints, per node, the number of records": ("service/audit/test_log.py::test_intact_chains_are_reported",),
    "that is kept elsewhere is such an anchor": (
        "app/test_audit.py::test_a_database_that_was_put_back_is_found",
        "app/test_audit.py::test_what_was_done_to_a_file_is_reported",
    ),
    "Record *N* must still have that MAC": ("app/test_init.py::test_the_anchor_of_the_page",),
    "`private_key` or `material` never appear": (
        "core/test_audit.py::test_secrets_are_masked_at_any_depth",
        "core/test_audit.py::test_of_what_cannot_be_masked_only_the_length_is_kept",
    ),
    "Nor does the query string": (
        "api/test_audit.py::test_reads_are_recorded_once_asked_for",
        "api/test_key_servers.py::test_a_secret_in_the_url_is_refused_and_not_recorded",
    ),
    "that holds a private key in PEM is": (
        "core/test_audit.py::test_a_text_with_a_private_key_is_masked",
        "api/test_audit.py::test_a_private_key_in_a_url_is_masked",
    ),
    "So is the password of a URL": ("api/test_destinations.py::test_a_password_in_a_url_is_in_no_record",),
    # --- Egress ---
    "are under the same rules": (
        "forwarding/test_sender.py::test_the_egress_rules_hold_at_each_connection",
        "api/test_destinations.py::test_what_is_refused_changes_nothing",
        "api/test_destinations.py::test_what_destinations_of_events_refuse",
    ),
    "Only administrators of the cluster choose them": (
        "api/test_destinations.py::test_a_call_that_is_confined_to_an_svm_finds_nothing",
        "api/test_access_matrix.py::test_every_cell",
    ),
    "These addresses are refused: loopback": ("keyservers/test_egress.py::test_refused",),
    "inside IPv4-mapped, NAT64, 6to4 and Teredo forms": (
        "keyservers/test_egress.py::test_refused",
        "keyservers/test_egress.py::test_no_form_hides_loopback",
    ),
    "Every address of a name must be allowed": (
        "keyservers/test_resolve.py::test_one_forbidden_address_refuses_the_answer",
        "keyservers/test_lines.py::test_where_we_may_not_connect",
        "keyservers/test_watch.py::test_an_address_that_is_not_allowed_is_not_connected_to",
    ),
    "or gets another port or secondary": (
        "api/test_own_addresses.py::test_a_new_server_is_refused",
        "api/test_own_addresses.py::test_a_new_secondary_is_refused",
        "api/test_own_addresses.py::test_a_stored_server_does_not_move_to_another_port_of_this_host",
    ),
    "A dry run says the same": (
        "api/test_own_addresses.py::test_a_new_server_is_refused",
        "api/test_own_addresses.py::test_a_new_secondary_is_refused",
    ),
    "Servers that are stored already go on working": (
        "api/test_own_addresses.py::test_a_stored_server_is_watched",
        "api/test_own_addresses.py::test_a_stored_server_is_changed",
        "keyservers/test_own_addresses.py::test_keys_on_a_stored_server_of_this_host",
    ),
    "may later lead to an address of this": (
        "keyservers/test_resolve.py::test_an_own_address_is_refused_for_a_new_server",
    ),
    "Loopback is refused even then": ("keyservers/test_resolve.py::test_one_forbidden_address_refuses_the_answer",),
    "only its own addresses, as its kernel shows": (
        "keyservers/test_own_addresses.py::test_an_address_of_an_interface",
        "keyservers/test_own_addresses.py::test_an_address_of_another_host",
    ),
    "`KEYSTEAD_EGRESS_ALLOW` lists exceptions": ("keyservers/test_egress.py::test_exceptions",),
    "is the full list of allowed networks": (
        "keyservers/test_egress.py::test_the_full_list",
        "keyservers/test_egress.py::test_the_full_list_may_name_loopback",
    ),
    "must then be in both": ("keyservers/test_egress.py::test_own_addresses",),
    # --- The listener ---
    "The listener speaks HTTPS only": (
        "app/test_protocol.py::test_without_tls_nothing_is_answered",
        "app/test_tls.py::test_nobody_is_asked_without_cas",
    ),
    "makes its certificate and shows the fingerprint": (
        "app/test_init.py::test_init_without_a_terminal_writes_the_password_to_a_file_and_is_idempotent",
    ),
    "Replace `tls.crt` and `tls.key` by your own": (
        "app/test_listener_certificate.py::test_a_certificate_is_replaced_while_connections_live",
        "app/test_tls.py::test_a_new_pair_is_taken",
    ),
    "Its end is announced like that of others": (
        "app/test_listener_certificate.py::test_a_certificate_is_replaced_while_connections_live",
    ),
    "A request with an `Origin` header may write": ("api/test_auth.py::test_browsers_write_from_our_own_origin_only",),
    "Connections are limited in all and for each": ("app/test_connections.py::test_one_more",),
    "A reserve is for addresses that have logged": (
        "app/test_connections.py::test_a_login_is_forgotten",
        "app/test_shut_out.py::test_many_addresses_leave_a_reserve_to_those_that_logged_in",
    ),
    "They are counted from their acceptance on": ("app/test_shut_out.py::test_one_address_shuts_nobody_out",),
    "So one address that holds connections open shuts": ("app/test_shut_out.py::test_one_address_shuts_nobody_out",),
    "Three addresses together can": ("app/test_connections.py::test_four_known_addresses_may_have_all",),
    "A client has 15 seconds for the handshake": (
        "app/test_protocol.py::test_the_times_that_clients_have",
        "app/test_protocol.py::test_a_handshake_that_does_not_go_on_is_left",
        "app/test_protocol.py::test_who_sends_no_request_is_left",
    ),
    "is believed only from `trusted_proxies`": ("app/test_shut_out.py::test_who_may_name_a_client",),
    "can choose the address in the limits": (
        "app/test_shut_out.py::test_clients_behind_a_proxy_are_counted_by_their_own_addresses",
        "app/test_shut_out.py::test_the_audit_names_the_client_behind_the_proxy",
    ),
    "From any other address the header is not": ("app/test_shut_out.py::test_who_may_name_a_client",),
    "A request with two `Host` or two `Authorization`": (
        "app/test_protocol.py::test_what_is_no_request_is_answered_in_plain_text",
    ),
    "So is a request of HTTP/1.1 without `Host`": (
        "app/test_protocol.py::test_what_is_no_request_is_answered_in_plain_text",
    ),
    "The parser answers, in plain text": ("app/test_protocol.py::test_what_is_no_request_is_answered_in_plain_text",),
}
"""Words of a sentence, and the tests below ``tests/`` that show what it promises."""

READ = {
    "It cannot be changed": "No command does it.",
    "sealed in the database and never on a": "It is a key of HMACs alone; no object is made of it.",
    "This gives no new power": "A descriptor lies beside its copy, under the same client certificate.",
    "as an HMAC under a key of the": "A test of results cannot see what a process remembers.",
    "Watching has its own budget": "The monitor takes no turn in the queue of calls, and has a pace of its own.",
    "The inviting process keeps the hash alone": "Nobody else looks into its memory.",
    "Between SVMs, a CA of the same name": "OpenSSL looks for an issuer among the CAs of all owners.",
    "So can an intermediate CA that only clients": "OpenSSL chooses among certificates of one name.",
    "made at the process's start and never leaves": "No code writes it; a test cannot see what a process holds.",
    "It does not know those of other nodes": "The kernel of this host is all that `keyservers/own_addresses.py` asks.",
    "a second address in the same network is": "It needs a host with two such addresses, and a setting of its kernel.",
}
"""Words of a promise that only reading shows, and why."""

PROMISES_NOTHING = (
    "A new node needs the root key",
    "Keep a copy of the root key",
    "With both in one place",
    "Give that right to those you trust",
    "what to do if it leaked",
    "Python copies values that it handles",
    "So the administrator of a key server sees",
    "Still, choose no name that is itself",
    "After a restore, the database does not know",
    "Otherwise an SVM could adopt and read",
    "An SVM is told less about its own",
    "That hides which rule refused",
    "It does not hide",
    "that a given IP address is refused",
    "that a name leads to an allowed address",
    "a resolver that needs more than a second",
    "The server's name may lead to another",
    "TLS only shows that the client holds",
    "Every request checks the rest",
    "Do not give such a client the certificate",
    "OpenSSL looks for an issuer by name",
    "Give the method `certificate` only to accounts",
    "A **key read** is a call of",
    "How to list key reads",
    "A cluster administrator's call that is confined",
    "Otherwise the path in the record could",
    "Somebody could put the whole database back",
    "Or somebody could keep a copy of",
    "So keep an anchor outside",
    "Note both where the database's administrators",
    "Later the chain must be intact",
    "When a server is added, Keystead connects",
    "are listed with their sources",
)
"""Words of advice, reasons, definitions, and of what is said not to be promised."""

_BLOCK = re.compile(r"\n\s*\n|\n(?=- |\d+\. |\||#)")
_SENTENCE_END = re.compile(r"(?<=\.)(?:\*\*)? (?=[A-Z`*\[])")


def sentences(page: str) -> list[str]:
    """Return the sentences of a page, one line each. An item of a list ends one; a row of a table is one."""
    blocks = [" ".join(block.split()) for block in _BLOCK.split(page)]
    rows = [index for index, block in enumerate(blocks) if block.startswith("|---")]
    kept = [
        re.sub(r"^(- |\d+\. )", "", block)
        for index, block in enumerate(blocks)
        if block and not block.startswith("#") and index not in {*rows, *(row - 1 for row in rows)}
    ]
    return [each for block in kept for each in ([block] if block.startswith("|") else _SENTENCE_END.split(block))]


def unplaced(page: str) -> list[str]:
    """Return the sentences of a page that are in none of the tables."""
    known = [*SHOWN, *READ, *PROMISES_NOTHING]
    return [each for each in sentences(page) if not any(fragment in each for fragment in known)]


@cache
def named_in(file: str) -> set[str]:
    """Return the names of a file's tests."""
    tree = ast.parse((TESTS / file).read_text())
    functions = (each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    return {each.name for each in functions if each.name.startswith("test_")}


def test_every_sentence_has_its_place() -> None:
    """With the tests that show it, or the reason why there is none; a new one is noticed."""
    assert unplaced(PAGE) == []
    assert unplaced(f"{PAGE}\n- A new promise.\n\nAnother one. And\none more.\n\n| a | new row |\n") == [
        "A new promise.",
        "Another one.",
        "And one more.",
        "| a | new row |",
    ]


def test_every_fragment_is_of_one_sentence() -> None:
    """Short, verbatim, and once on the page: what is not said any more has no place here."""
    fragments = [*SHOWN, *READ, *PROMISES_NOTHING]
    found = sentences(PAGE)
    assert [each for each in fragments if sum(text.count(each) for text in found) != 1] == []
    assert [each for each in fragments if len(each.split()) > WORDS] == []
    assert len(READ) <= MOST_READ


def test_every_test_that_is_named_exists() -> None:
    """In the file that is named."""
    named = [each.partition("::") for tests in SHOWN.values() for each in tests]
    assert [f"{file}::{test}" for file, _, test in named if test not in named_in(file)] == []
    assert all(SHOWN.values())
