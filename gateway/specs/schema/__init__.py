"""From nodes to the core's objects."""
