"""The loss law on public runs; see `__main__.py`."""
