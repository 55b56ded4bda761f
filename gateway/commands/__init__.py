"""One module a command: words for people, exit codes, nothing else."""
