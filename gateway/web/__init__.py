"""HTTP in: from bytes on a connection to a reply in the caller's dialect."""
