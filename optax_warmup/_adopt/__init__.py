"""Carries the state of a running optimizer into another one."""
