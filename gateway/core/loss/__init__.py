"""What gets lost, computed: a probe makes a round trip, and shows what a provider holds and what is lost on the way."""
