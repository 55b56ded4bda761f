"""The admin API and the probes."""
