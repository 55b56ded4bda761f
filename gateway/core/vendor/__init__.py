"""Loaded providers and routes, route matching, relayed requests and sessions of local calls."""
