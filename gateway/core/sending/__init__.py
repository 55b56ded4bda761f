"""Data points to calls: group, encode, split, coalesce, declare and sign; circuit breaker and rate limit."""
