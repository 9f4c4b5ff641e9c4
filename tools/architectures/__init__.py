"""Tests of neuron discovery on a tiny model of every architecture in transformers."""
