"""The report: what the host reads from a record, and shows."""
