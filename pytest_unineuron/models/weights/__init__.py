"""Weights of a model, read per neuron and per head, with norms folded in."""
