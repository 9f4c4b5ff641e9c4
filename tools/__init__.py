"""Tools of the people who build the package; not part of what is installed."""
