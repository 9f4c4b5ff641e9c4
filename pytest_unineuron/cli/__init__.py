"""The ``pytest-unineuron`` command."""
