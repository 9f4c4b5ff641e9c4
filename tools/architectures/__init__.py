"""How much of transformers is understood: a tiny model of every architecture, and the truth about its neurons."""
