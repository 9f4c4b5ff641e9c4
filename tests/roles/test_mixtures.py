"""Mixtures are what a layer writes in no basis of its own."""

import torch

from pytest_unineuron.roles.head_composition import largest_score
from pytest_unineuron.roles.mixtures import mixtures


def normal(rows, width, seed):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_mixtures_have_length_one_and_stay_within_what_is_written():
    vectors = torch.cat([normal(30, 4, seed=1), torch.zeros(30, 4)], dim=1)
    mixed = mixtures(vectors, 500, seed=2)
    assert mixed.shape == (500, 8)
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(500))
    assert not mixed[:, 4:].any()


def test_lengths_do_not_matter_and_a_vector_of_zeros_has_no_part():
    vectors = normal(30, 8, seed=1)
    scaled = vectors * 10.0 ** normal(30, 1, seed=3)
    torch.testing.assert_close(mixtures(vectors, 50, seed=2), mixtures(scaled, 50, seed=2))
    vectors[3] = 0
    assert torch.isfinite(mixtures(vectors, 50, seed=2)).all()
    assert not mixtures(torch.zeros(3, 8), 50, seed=2).any()


def test_only_vectors_of_their_own_direction_are_beyond_mixtures():
    """One direction that all neurons write does not set them apart, however much a head reads it."""
    reader = torch.eye(16)[:1]
    shared = 0.5 * normal(200, 16, seed=1) + 4 * torch.eye(16)[0] * normal(200, 1, seed=4).sign()
    alone = normal(200, 16, seed=1)
    alone[0] = 4 * torch.eye(16)[0]
    for vectors, beyond in ((shared, False), (alone, True)):
        largest, null = (largest_score(v, [reader]) for v in (vectors, mixtures(vectors, 1000, seed=2)))
        assert bool(largest[0] > null.quantile(0.99)) is beyond
