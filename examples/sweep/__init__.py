"""A sweep over peak learning rate, warmup length and seed in one program.

`task.py` holds the training that is swept: put your own there. `advice.py` recommends,
`figure.py` draws the heat map, and `__main__.py` is the command.
"""
