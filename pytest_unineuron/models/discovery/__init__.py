"""Where the neurons, norms and heads of any model are, found from its computation graph and verified."""
