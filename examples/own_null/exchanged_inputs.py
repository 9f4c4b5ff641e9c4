"""A control of one's own: a model whose units keep their weights, and lose what these are the weights of."""

import copy

import torch

from pytest_unineuron import extend


@extend.control(
    "exchanged-inputs",
    replaces="model",
    keeps="keeps the weights of every row of a matrix, and all biases; the columns of each row are permuted",
)
def exchanged_inputs(model, seed):
    """Return a copy of the model in which the values of every row of every matrix are in random places.

    It keeps more than ``shuffled`` does: a unit that has large weights, or a few large ones, still has them.
    """
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.dim() == 2:
                order = torch.rand(parameter.shape, generator=generator).argsort(dim=1).to(parameter.device)
                parameter.copy_(parameter.gather(1, order))
    return twin
