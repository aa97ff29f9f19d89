"""A sweep over peak learning rate, warmup length and seed in one program.

`task.py` holds the training that is swept: put your own there. `advice.py` recommends,
`figure.py` draws the heat map, `search.py` lets Optuna choose in place of a grid, and
`__main__.py` is the command.
"""
