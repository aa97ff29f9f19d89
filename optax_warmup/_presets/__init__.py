"""Presets: the schedules people search for, each a few lines of the vocabulary."""
