//! What every world holds to, the live one and the simulated one: each test here runs in both. Where they differ, the
//! simulated world is wrong, and so is every plan, test and drill in it.

mod archive;
mod containers;
mod copies;
mod files;
mod networks;
mod servers;
mod site;
mod storage;

/// Makes two tests of each function: one in a live world, one in a simulated one.
macro_rules! in_both_worlds {
    ($($module:ident: $($test:ident),+ $(,)?;)+) => {
        mod live {
            $($(#[test] fn $test() { super::$module::$test(&super::site::Site::live()); })+)+
        }
        mod simulated {
            $($(#[test] fn $test() { super::$module::$test(&super::site::Site::simulated()); })+)+
        }
    };
}

in_both_worlds! {
    containers: the_life_of_a_container, a_name_that_is_taken, what_is_not_there_is_not_found,
        an_image_that_is_not_there, a_running_container_goes_by_force_alone, a_container_like_another,
        a_restart_policy_brings_back_who_fails, a_run_gives_output_and_exit_code,
        containers_are_found_by_what_they_have;
    networks: networks_are_joined_and_left, a_network_in_use_stays, a_network_that_is_gone_is_told_at_the_start,
        a_fixed_address_that_is_taken, a_shared_network_is_told_by_its_container_s_id;
    storage: a_volume_in_use_stays, a_volume_that_is_there_is_given_again, files_pass_in_and_out,
        an_empty_file_is_made_once;
    files: files_are_private_and_never_written_over, a_directory_goes_with_all_in_it;
    servers: a_first_start_makes_a_cluster, another_major_on_a_volume, an_old_mount_under_18, an_unknown_setting,
        a_login_by_its_password, an_md5_hash_where_scram_is_asked_for, a_server_that_does_not_run,
        the_control_file_tells_a_clean_stop_from_a_crash, a_restored_dump_is_the_same, a_dump_is_not_written_over,
        an_older_server_takes_no_dump, a_write_is_counted;
    archive: a_backup_holds_what_the_volume_held, a_volume_that_is_written_to_is_not_backed_up,
        a_damaged_backup_is_told, a_restore_wants_an_empty_volume, a_volume_moves_to_another_name,
        a_clone_holds_the_same, a_keeper_keeps_a_volume;
    copies: a_copy_follows_and_is_upgraded, a_server_that_lets_nobody_follow, a_copy_is_cut_off;
}
