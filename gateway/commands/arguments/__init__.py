"""Reads options, credentials and specs for the commands."""
