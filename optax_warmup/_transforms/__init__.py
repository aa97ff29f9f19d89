"""Transforms: what applies a schedule to an optimizer's updates."""
