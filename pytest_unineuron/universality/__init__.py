"""How well the units of a model are matched by units of models trained from other seeds."""
