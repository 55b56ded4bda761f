"""Metric gateway: takes reports written for one cloud vendor and delivers them to another."""

__version__ = "0.1.0"
