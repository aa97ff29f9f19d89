"""A vision transformer on handwritten digits, and the recipe for large batches.

In reading order: data, model, training, recipes, figure, and __main__, the command.
"""
