"""What neurons and heads do: one file a role, which computes it from the weights of a model or from runs of it.

A function of a WeightView can be asked for by any trial: ``weights.role(function)`` computes it once per arm.
"""
