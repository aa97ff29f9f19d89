"""Training throughput of the transformer example, next to public equivalents."""
