"""The kinds of units that are compared between models, by name. No torch."""

NEURONS, DIMENSIONS, VALUES, HEADS = "neurons", "residual dimensions", "head values", "heads"
"""MLP neurons, after the activation function unless a ComparedModel says otherwise; the middle residual stream; the
input of the heads' output projection; and one number per head, the norm of its output beyond the mean norm at that
position."""
KINDS = (NEURONS, DIMENSIONS, VALUES, HEADS)
