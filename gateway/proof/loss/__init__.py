"""What a data point loses between two providers."""
