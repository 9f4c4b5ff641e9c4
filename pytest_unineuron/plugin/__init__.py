"""The pytest plugin: collection, the protocol of one item, the end of a run. The entry point is ``hooks``."""
