"""Numbers of the paper, to compare weights with."""
