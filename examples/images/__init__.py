"""A vision transformer on handwritten digits, and the recipe for large batches.

One file per concept, in reading order: data, model, training, figure, and __main__,
which compares. README.md has the commands.
"""
