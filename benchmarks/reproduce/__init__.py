"""Published results, made again with this library."""
