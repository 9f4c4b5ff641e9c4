"""Activations: caught by hooks during one pass, turned into sums at once, never stored."""
