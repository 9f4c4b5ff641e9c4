"""Models: loaded from files, searched for their neurons, and read as weights."""
