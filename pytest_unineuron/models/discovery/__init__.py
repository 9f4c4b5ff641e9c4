"""Where the neurons, norms and heads of a model of any architecture are, found from its computation graph."""
