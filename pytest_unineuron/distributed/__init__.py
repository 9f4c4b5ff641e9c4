"""One process or several that share the batches of a forward pass."""
