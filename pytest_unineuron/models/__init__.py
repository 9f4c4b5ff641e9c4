"""Models: how they are loaded, where their neurons are, and what their weights are."""
