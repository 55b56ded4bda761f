"""The vendor and the reporter that commands play."""
