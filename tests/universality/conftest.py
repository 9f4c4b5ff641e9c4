"""The text that models are compared on."""

import pytest

from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from tests.models.tiny import tokenizer


@pytest.fixture(scope="package")
def blocks():
    """About six thousand tokens of many documents."""
    return to_blocks(find_corpus("news"), tokenizer(), context=64, budget=6000)


@pytest.fixture(scope="package")
def batches(blocks):
    """The batches that all models read."""
    return blocks.batches(1024)
