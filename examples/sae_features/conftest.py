"""Importing a file here is enough: the plugin finds what it declares."""

from sae_features import sae_features  # noqa: F401
