"""The kinds of units that are compared between models, by name. No torch."""

NEURONS, DIMENSIONS, VALUES, HEADS = "neurons", "residual dimensions", "head values", "heads"
"""MLP neurons, after the activation function unless a Member says otherwise; the middle residual stream; what the
heads' output projection reads; and one number per head, the norm of what it writes beyond what is usual at that
position."""
KINDS = (NEURONS, DIMENSIONS, VALUES, HEADS)
