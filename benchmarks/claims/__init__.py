"""What is said about warmup, tested on the tasks of `benchmarks.warmup_quality`."""
