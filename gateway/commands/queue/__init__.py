"""`gateway queue`: its commands, the client of the admin API that they use, and what they print."""
