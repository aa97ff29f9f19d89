"""Follows the folder of a run: what `optax-warmup watch` shows."""
