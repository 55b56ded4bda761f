"""The commands, one file each, imported when they run.

recipes/ and queue/ hold further commands with the code that only they use. arguments/ reads options and loads specs,
output/ prints, roles/ plays a vendor or its reporter.
"""
