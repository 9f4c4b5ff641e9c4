"""Adds the trials in evals/ to the packages, as pytest_unineuron.evals; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pytest_unineuron*"]), "pytest_unineuron.evals"],
    package_dir={"pytest_unineuron.evals": "evals"},
)
