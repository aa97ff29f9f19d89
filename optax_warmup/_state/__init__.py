"""Reading the state of an optimizer: moments, momentum and learning rates."""
