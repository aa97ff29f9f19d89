"""A decoder-only transformer language model with a visible warmup.

`core/` is what to copy: model, data, optimizer, training loop. `run/` is the program
around it. The commands are train, sample and demo; README.md explains them.
"""
