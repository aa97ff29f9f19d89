"""The record: what the device writes down about Adam while it trains."""
