"""Whether a store's conditional writes hold."""
