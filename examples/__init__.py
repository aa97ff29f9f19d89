"""Programs to start a project from; run them from the repository root."""
