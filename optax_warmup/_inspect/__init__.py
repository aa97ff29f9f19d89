"""Look before you train: a schedule as numbers, in words and as a picture."""
