"""Golden cases: recorded exchanges that a provider or route must reproduce."""
