"""Inspect a schedule before training: as numbers, in words, and as a plot."""
