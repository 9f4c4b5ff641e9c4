"""The same work by other libraries, each in an environment of its own; only ``plugin`` needs pytest-unineuron."""
