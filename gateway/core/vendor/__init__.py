"""A vendor and a route once loaded, and how a request finds its route."""
