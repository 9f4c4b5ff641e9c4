"""Numbers published with the paper, with which weights are compared."""
