"""Tools for developing the package, which are not installed with it."""
