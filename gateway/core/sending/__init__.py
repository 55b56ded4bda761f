"""From data points to calls: grouped, split, merged, declared, signed and paced."""
