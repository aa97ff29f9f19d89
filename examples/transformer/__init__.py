"""A decoder-only transformer language model whose warmup you can see.

One file per concept, in reading order: config, data, model, optimizer, sharding,
run_folder, progress, train; then figure and demo. README.md has the commands.
"""
