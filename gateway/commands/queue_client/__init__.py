"""What `gateway queue` asks of a running gateway."""
