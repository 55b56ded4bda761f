"""The keys of providers, routes, recipes and cases, and what they are built to."""
