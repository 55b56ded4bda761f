"""HTTP out: from data points to what the upstream said of them."""
