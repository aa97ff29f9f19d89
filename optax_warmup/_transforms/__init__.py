"""Transforms: gradient transformations that apply, guard or restart a warmup."""
