//! The contract of the crate. Every test runs on every engine, but those that are about one.

mod accounting;
mod admission;
mod begin;
mod collect;
mod databases;
mod failure;
mod fill;
mod fixture;
mod inspection;
mod lease;
mod listing;
mod organization;
mod outages;
mod plan;
mod postgres_plan;
mod prune;
mod quota;
mod races;
mod random;
mod referrers;
mod renewal;
mod replicas;
mod roles;
mod scale;
mod scrub;
mod sweep;
mod tls;
mod view;
mod wanted;

/// Runs each contract on a fresh database of each engine.
macro_rules! contracts {
    (
        both { $($module:ident: $($name:ident),+ $(,)?;)+ }
        sqlite { $($alone:ident: $($lone:ident),+ $(,)?;)+ }
        postgres { $($shared:ident: $($several:ident),+ $(,)?;)+ }
    ) => {
        mod sqlite {
            $($(
                #[tokio::test]
                async fn $name() {
                    super::$module::$name(super::fixture::Fixture::sqlite().await).await;
                }
            )+)+

            $($(
                #[tokio::test]
                async fn $lone() {
                    super::$alone::$lone(super::fixture::Fixture::sqlite().await).await;
                }
            )+)+

            #[test]
            fn any_plan_is_enough_and_no_more() {
                let cases = super::fixture::cases(48, 1000);
                super::quota::random::any_plan_is_enough_and_no_more(cases, || {
                    Box::pin(super::fixture::Fixture::sqlite())
                });
            }

            #[test]
            fn any_history_can_be_recounted() {
                let cases = super::fixture::cases(48, 500);
                super::random::any_history_can_be_recounted(cases, || {
                    Box::pin(super::fixture::Fixture::sqlite())
                });
            }
        }

        mod postgres {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_contract_holds() {
                let contracts: Vec<super::databases::Contract> = vec![
                    $($((
                        concat!(stringify!($module), "::", stringify!($name)),
                        |db| Box::pin(super::$module::$name(db)),
                    ),)+)+
                    $($((
                        concat!(stringify!($shared), "::", stringify!($several)),
                        |db| Box::pin(super::$shared::$several(db)),
                    ),)+)+
                ];
                super::databases::hold(contracts).await;
            }

            #[test]
            fn any_plan_is_enough_and_no_more() {
                let cases = super::fixture::cases(8, 200);
                super::quota::random::any_plan_is_enough_and_no_more(cases, super::databases::fixtures());
            }

            #[test]
            fn any_history_can_be_recounted() {
                let cases = super::fixture::cases(8, 200);
                super::random::any_history_can_be_recounted(cases, super::databases::fixtures());
            }
        }
    };
}

contracts! {
    both {
        admission:
            stores_first_pull_and_counts_it,
            counts_shared_layers_once_per_organization,
            moves_tag_there_and_back,
            revives_dead_tag_without_body,
            keeps_two_tags_on_one_manifest_apart,
            replaced_tag_that_was_dead_keeps_its_end,
            pins_only_what_nothing_else_holds,
            child_that_was_pinned_before_its_index_keeps_its_pin,
            counts_child_from_the_moment_it_is_stored,
            holds_referrer_through_its_subject,
            takes_back_released_manifest_with_children_and_referrers,
            new_index_takes_back_released_children,
            reports_manifest_that_is_gone_and_leaves_no_repository,
            stores_same_manifest_once;
        accounting:
            counts_largest_declared_size_until_verified,
            shrinks_again_when_largest_declaration_goes,
            corrects_every_organization_when_bytes_are_verified,
            counts_real_size_for_later_declarations,
            weight_survives_loss_of_bytes,
            finds_what_was_tampered_with,
            reports_usage,
            reports_usage_of_every_organization_that_is_there;
        renewal:
            renews_tag_and_lets_lowered_ttl_bite,
            pull_beside_the_sweeper_takes_the_manifest_back,
            times_of_a_clock_that_was_ahead_count_as_past,
            late_batch_never_shortens_a_life,
            revives_tag_that_died_during_its_check,
            does_not_revive_replaced_tag,
            head_confirms_without_renewing,
            digest_pull_renews_every_holder,
            digest_pull_renews_through_four_indexes_and_no_more,
            digest_pull_revives_resolved_tag_for_ten_minutes,
            digest_pull_skips_unconfirmed_tag,
            digest_pull_pins_what_nothing_live_holds,
            dead_pin_lives_again,
            failure_and_confirmation_in_one_moment_follow_their_order,
            use_counts_without_renewing;
        view:
            reads_blob_through_held_and_released_manifests,
            strangers_see_only_what_live_tags_hold,
            members_see_live_pins_too,
            members_see_only_what_is_live,
            a_circle_of_holders_is_not_live,
            real_size_is_told_only_with_proof,
            a_size_counts_where_it_was_declared,
            blob_of_other_repository_is_not_there,
            private_blob_needs_proof;
        fill:
            commits_fill_and_keeps_key_in_one_place,
            second_fill_is_superseded,
            fill_without_references_is_garbage,
            abandoned_fill_may_not_commit,
            abandons_all_fills_of_the_process_before,
            anonymous_bytes_are_free_for_good,
            forgets_bytes_only_of_that_key;
    begin:
        fill_is_shared_by_size_and_scope,
        other_size_fills_beside_the_lease,
        fill_that_expired_is_taken_over,
        fill_that_expired_is_followed_where_it_says_where,
        one_replaces_a_fill_that_cannot_be_reached,
        replaced_fill_that_expires_is_lost,
        stored_blob_is_found,
        private_blob_is_proven_under_a_lease,
        lost_bytes_are_filled_under_a_new_key,
        blob_that_nothing_names_is_garbage_at_the_end,
        heartbeat_tells_which_fills_are_gone,
        running_fill_is_read_again,
        expired_fill_frees_its_lease;
    lease:
        one_at_a_time_has_a_lease,
        lease_is_given_back_by_its_holder,
        note_stays_until_it_expires,
        note_is_overruled_once,
        late_renewal_brings_no_lease_back,
        process_gives_all_its_leases_back,
        expired_leases_are_dropped;
        wanted:
            wants_missing_blobs_configs_first,
            complete_image_wants_nothing,
            keeps_backoff_of_what_is_wanted_already,
            gives_up_until_next_pull,
            wants_images_around_a_layer,
            asks_only_for_organization_that_wanted_it,
            other_manifests_do_not_say_where_to_fill,
            gives_up_only_for_the_manifest_that_failed,
            tells_children_of_held_indexes;
        inspection:
            tells_what_holds_an_image,
            tells_what_an_image_holds_alone,
            weighs_an_index_with_its_children,
            tells_the_subject_that_holds_a_referrer,
            tells_which_blobs_are_missing,
            tells_nothing_of_what_was_collected,
            rehearses_an_admission;
        listing:
            lists_live_tags_in_byte_order,
            unknown_repository_differs_from_last_page,
            catalogs_full_names_in_byte_order,
            catalog_gives_up_a_long_search;
        referrers:
            lists_held_referrers_by_digest,
            filters_referrers_by_artifact_type,
            strangers_see_referrers_that_live_tags_hold;
        organization:
            other_identity_starts_empty,
            organization_comes_back_with_its_content,
            two_organizations_swap_names,
            kept_organization_is_not_removed,
            first_setting_wins,
            setting_is_replaced_on_request;
        sweep:
            sweeps_only_after_window_and_slack,
            keeps_manifest_that_another_tag_holds,
            releases_children_and_referrers_with_their_holder,
            referrer_with_a_pin_outlives_its_subject,
            two_that_hold_each_other_are_released,
            sweeps_in_bounded_steps,
            changed_window_applies_to_the_dead,
            endless_tags_and_pins_get_an_end,
            removed_organization_keeps_everything_for_an_hour,
            departed_organization_is_dropped_when_nothing_is_left;
        quota:
            dead_content_goes_first_then_what_was_used_longest_ago,
            all_tags_of_a_manifest_go_at_the_latest_use,
            dead_manifest_ended_with_the_last_of_its_tags,
            refusal_changes_nothing,
            planner_is_told_what_is_needed_and_what_it_weighs_alone,
            what_adds_nothing_needs_no_room,
            deferred_admission_changes_nothing,
            what_holds_the_pulled_manifest_is_spared,
            index_goes_with_its_children,
            pins_and_endless_tags_can_go,
            moved_tag_makes_room_for_itself,
            pruned_image_comes_back_until_it_is_collected,
            late_renewal_never_overshoots,
            lowered_quota_is_enforced_without_a_request,
            other_organizations_make_no_room;
        prune:
            others_write_between_the_steps_of_a_prune,
            what_is_used_after_the_plan_is_spared,
            no_more_goes_than_is_too_much_by_now,
            a_plan_does_not_wait_for_the_writer;
        collect:
            collects_what_was_released_a_grace_ago,
            steps_of_two_workers_are_done_once,
            spares_blobs_that_others_name,
            taken_back_content_is_spared,
            fill_that_ends_after_the_collection_is_garbage,
            expired_fill_becomes_garbage,
            postponed_garbage_waits,
            collects_in_bounded_steps,
            forecast_comes_true,
            repairs_what_was_tampered_with;
        scrub:
            lists_stored_keys_in_order,
            finds_keys_wherever_they_are,
            discards_only_keys_that_nobody_knows,
            forgets_wrong_bytes_with_their_size;
        failure:
            caller_that_goes_away_does_not_block_the_writer,
            closed_database_is_unavailable;
    }
    sqlite {
        scale:
            work_does_not_grow_with_what_is_alive;
        failure:
            writes_again_after_the_disk_was_full;
    }    postgres {
        races:
            collector_waits_for_an_admission,
            admission_waits_for_the_collector,
            commit_waits_for_the_collector,
            collector_waits_for_a_commit,
            second_admission_sees_what_the_first_has_counted,
            one_of_two_has_the_tag,
            sweeper_waits_for_a_pin,
            pin_waits_for_the_sweeper,
            content_is_taken_back_once,
            index_does_not_count_a_child_that_is_collected,
            collector_spares_a_child_that_is_counted,
            file_is_applied_by_one_after_the_other,
            conflicts_are_tried_again,
            deadlock_is_tried_again;
        postgres_plan:
            no_table_is_scanned_where_it_is_large;
    }
}
