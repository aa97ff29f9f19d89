"""A decoder-only transformer language model with a visible warmup.

`core/` is what to copy: model, data, optimizer, training loop. `run/` is the program
around it, and `prepare/` makes tokens of large texts. The commands are prepare, train,
sample and demo; README.md explains them.
"""
