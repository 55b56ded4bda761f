"""Plays a vendor or its reporter, and runs a gateway for a command."""
