"""Names of containers: the resolver at 127.0.0.11 of those on networks of a person's making."""
