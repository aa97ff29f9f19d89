"""Schedules: values that map a step to a number."""
