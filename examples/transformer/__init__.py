"""A decoder-only transformer language model whose warmup you can see.

One file per concept, in reading order: config, data, model, optimizer, sharding,
train_step, plan, loop, train; then checkpoint, sample, figure and demo. README.md has
the commands.
"""
