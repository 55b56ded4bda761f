"""HTTP requests and responses as values: received, unsigned, and as text; JSON; base URLs."""
