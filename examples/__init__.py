"""Examples to start a project from. Run them from the repository root."""
