"""The weights of a model per neuron and per head, with norms folded in."""
