"""From YAML text to nodes with positions, and the diagnostics about them."""
