"""What the library promises, and which tests hold it: docs/promises.md in full.

A new promise is a row here; `python tests/tools/write_promises.py` writes the page.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Promise:
    """A promise in plain words.

    Attributes:
        text: what can be relied on.
        tests: files of tests/, or file::test; together they fail if it is broken.
        gap: what the promise leaves open, or "" if the tests hold all of it.
        held: whether the tests hold it, but for the gap.
    """

    text: str
    tests: tuple[str, ...]
    gap: str = ""
    held: bool = True


PROMISES = (
    Promise(
        "No invalid argument is accepted. A schedule, shape, transform or tool raises "
        "`ValueError` or `TypeError` when it is built; the message names the "
        "argument, shows its value and says what to do.",
        (
            "test_bad_input.py::test_refused_by_name",
            "test_bad_input.py::test_every_builder_is_here",
            "test_bad_arguments.py::test_a_wrong_argument_is_named",
            "test_own_values.py::test_its_fields_are_checked",
        ),
        "many kinds of wrong values are tried for each argument, not all; of a traced "
        "argument only the type is checked",
    ),
    Promise(
        "The value of a schedule is finite at every step, and so are its derivatives.",
        (
            "test_precision.py::test_never_outside_its_bounds",
            "test_modes.py::test_gradients_are_finite_in_every_branch",
            "test_traced_lengths.py::test_value_and_derivative_by_a_length",
            "test_vocabulary.py::test_growth_without_end_stays_finite",
        ),
        "a step that is NaN gives NaN",
    ),
    Promise(
        "The ends are exact: the initial value at step 0, the peak when the warmup "
        "ends, the end value from the last step on. No value is outside of these. "
        "Ramps are monotone.",
        (
            "test_precision.py::test_ends_are_exact",
            "test_precision.py::test_never_outside_its_bounds",
            "test_precision.py::test_monotone_where_it_should_be",
            "test_precision.py::test_every_step_of_a_ramp_is_monotone",
            "test_precision.py::test_a_constant_of_a_program_has_its_ends_exactly",
        ),
    ),
    Promise(
        "In float32 the relative error against a reference in float64 is below 1e-6, "
        "at every step up to `2**31 - 1`.",
        (
            "test_precision.py::test_relative_error",
            "test_precision.py::test_the_oracle_is_the_textbook_formula",
            "test_schedules.py::test_exact_beyond_what_float32_counts",
        ),
        "a few schedules have a larger bound; `tests/support/cases*.py` gives it with "
        "the reason",
    ),
    Promise(
        "A step may be of any integer or float type, or an array, before the start or "
        "past the end. The same step has the same value, and what is no step is "
        "refused.",
        (
            "test_schedules.py::test_every_type_counts_the_same",
            "test_schedules.py::test_every_wide_type_counts_the_same",
            "test_schedules.py::test_before_the_start_and_past_the_last_step",
            "test_schedules.py::test_steps_out_of_range_inside_jax_and_in_arrays",
            "test_bad_input.py::test_bad_steps_are_refused",
        ),
    ),
    Promise(
        "A schedule has the same value eagerly, under `jit`, `vmap` and `scan`: up to "
        "the last bit, and to the last bit under `bit_exact()`. It is traced once, "
        "works under strict dtype promotion, and is float64 under x64.",
        (
            "test_modes.py::test_eager_jitted_and_scanned_agree_but_for_the_last_bit",
            "test_modes.py::test_they_agree_to_the_last_bit_where_that_is_asked_for",
            "test_modes.py::test_vmap_is_a_loop_and_so_are_closures_of_one_step",
            "test_modes.py::test_one_trace_serves_other_numbers",
            "test_modes.py::test_strict_dtype_promotion_and_rank_promotion",
            "test_modes.py::test_x64_is_float64",
        ),
    ),
    Promise(
        "Every number of a schedule, lengths included, may be traced: for sweeps "
        "under `vmap` and for gradients. What must be known says so.",
        (
            "test_modes.py::test_traced_numbers_give_what_known_ones_give",
            "test_modes.py::test_gradients_are_the_derivatives",
            "test_traced_lengths.py",
            "test_bad_input.py::test_traced_arguments_are_refused_by_type",
        ),
    ),
    Promise(
        "The schedules of Optax, PyTorch, transformers and others that "
        "[migration.md](migration.md) translates have those libraries' values.",
        (
            "test_parity.py::test_parity",
            "test_parity.py::test_more_curves",
            "test_parity.py::test_drop_ins_have_optax_numbers",
        ),
        "compared with values recorded from the versions that migration.md names",
    ),
    Promise(
        "A run that is stopped and resumed is the run that was not: bit for bit, at "
        "any step, in the warmup and while a checkpoint is written.",
        (
            "test_known_bugs.py::test_a_resumed_run_has_the_same_rates",
            "test_record.py::test_a_checkpoint_on_disk_continues_the_record",
            "test_groups.py::test_a_checkpoint_of_the_state_goes_on_to_the_bit",
            "test_example_transformer_resume.py::test_resume_is_exact_bit_for_bit",
            "faults/test_killed.py",
            "faults/test_stopped.py",
        ),
        "on the same devices; another number of devices rounds sums in another order",
    ),
    Promise(
        "A run that is resumed with another schedule is told so, and `switch` refuses "
        "a rate that would jump.",
        (
            "test_example_transformer_resume.py"
            "::test_an_edited_schedule_is_noticed_under_the_same_settings",
            "test_continuations.py::test_switch_refuses_a_jump_and_names_both_rates",
            "test_values.py::test_fingerprints_are_all_different",
        ),
        "a loop of your own must store `fingerprint(schedule)` and compare it; an "
        "optimizer state alone does not tell its schedule",
    ),
    Promise(
        "A step with a gradient that is not finite changes nothing under "
        "`skip_nonfinite` or `guards.protect`: the state stays the same to the bit, "
        "the count does not advance, and it never gives up in silence. This holds in "
        "an accumulation too.",
        (
            "test_guards.py::test_a_skipped_step_leaves_everything_as_it_was",
            "test_guards.py::test_it_never_gives_up_where_optax_does",
            "test_guards.py"
            "::test_accumulation_goes_on_as_if_the_bad_gradient_had_not_been",
            "faults/test_gradients.py::test_sixty_bad_gradients",
        ),
    ),
    Promise(
        "No finite gradient, however large, freezes a coordinate of Adam under "
        "`clip_outliers` or `guards.protect`.",
        (
            "test_second_moment.py::test_no_finite_gradient_freezes_a_coordinate",
            "faults/test_gradients.py::test_sixty_bad_gradients",
        ),
        "optimizers without these transforms behave as in Optax",
    ),
    Promise(
        "Processes that disagree on their configuration are told so before they train.",
        (
            "test_continue.py::test_two_processes_that_differ_are_told_so",
            "test_example_transformer_devices.py"
            "::test_two_processes_that_differ_stop_before_training",
        ),
        "a loop of your own calls `runs.check_same`",
    ),
    Promise(
        "Schedules are values. They compare, hash, copy and pickle, and they print as "
        "the code that builds them again.",
        (
            "test_values.py::test_repr_is_the_code_that_rebuilds_it",
            "test_values.py::test_copies_are_equal_and_give_the_same",
            "test_values.py::test_other_numbers_make_another_value",
            "test_values.py::test_equality_is_by_value_and_type",
            "test_values.py::test_fingerprint_is_the_same_in_every_process",
        ),
    ),
    Promise(
        "The learning rate that is reported is the one that the last update used, in "
        "every composition of transforms.",
        (
            "test_applied_rate.py::test_the_reported_rate_is_the_applied_rate",
            "test_matrix.py::test_what_is_reported_is_what_is_applied",
            "test_matrix.py::test_so_it_is_in_a_sample_of_all_compositions",
        ),
        "of all compositions a sample is tried, in which every pair meets",
    ),
    Promise(
        "It works with the oldest and the newest supported JAX. Warnings are errors "
        "in the tests, and the code in the pages is run.",
        (
            "test_house.py::test_python_in_the_pages_runs",
            "test_docs.py::test_sessions_print_what_they_say",
            "test_types.py::test_a_program_has_no_error_and_each_mistake_has_one",
        ),
        "the versions are those of continuous integration; nightly builds are not "
        "tried",
    ),
    Promise(
        "The tests notice 95 % of small mistakes in the package.",
        ("test_mutants.py",),
        "a goal; `make mutants` measures it, and the tests try the measurement only",
        held=False,
    ),
    Promise(
        "`optax-warmup watch` shows the rows that are in the file of a run, whatever "
        "happens to it, takes no accelerator, and leaves the terminal as it was.",
        (
            "test_watch.py::test_lines_are_those_of_the_file_whatever_happens_to_it",
            "test_watch_command.py::test_it_follows_a_training_in_another_process",
            "test_watch_command.py::test_in_a_pipe_ctrl_c_ends_it_and_no_accelerator_is_taken",
            "test_watch_command.py::test_a_terminal_is_given_back",
        ),
        "tried on Linux only; on a network drive another machine's rows come when the "
        "drive shows them",
    ),
)
