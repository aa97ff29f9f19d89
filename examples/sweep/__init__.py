"""Which peak rate, and how long a warmup: every combination in one program.

`task.py` is the training that is swept: put your own there. `figure.py` draws the heat
map and `__main__.py` is the command. README.md has the commands.
"""
