"""What turns `core/` into a program: settings, processes, files, screen, pictures.

In reading order: config, config_file, presets, command_line, plan, estimate, train,
start, training, divergence, outputs; then the files (run_folder, contents, records,
recorder, result), several processes (processes, identity), dry_run, profile, sample,
figure and demo.
"""
