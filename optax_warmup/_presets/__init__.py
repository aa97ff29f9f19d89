"""Presets: well-known schedules, each built from a few basic ones."""
