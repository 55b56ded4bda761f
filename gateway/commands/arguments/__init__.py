"""From options and arguments to specs, credentials and targets."""
