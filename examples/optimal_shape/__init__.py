"""The schedule that is best for a model problem, found by gradient descent on it."""
