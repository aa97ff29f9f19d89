"""What to copy into a project: the model, its data, optimizer and training loop.

In reading order: settings, config, model (with attention, packing and sharding), data
(with text, tokenizer, token_file and tokens), loader, optimizer, train_step, loop,
generate; then what keeps a run safe: checkpoint (with checksums and files), stop,
processes. Nothing here imports from `run/` or `prepare/`. The model alone needs
model.py, attention.py, packing.py, sharding.py, config.py and settings.py.
"""
