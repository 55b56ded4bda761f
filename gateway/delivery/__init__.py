"""HTTP out: from data points to the outcomes of their calls."""
