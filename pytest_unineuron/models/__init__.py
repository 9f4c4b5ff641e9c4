"""Models: where they come from, where their neurons are, and their weights in one orientation."""
