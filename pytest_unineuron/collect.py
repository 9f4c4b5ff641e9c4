"""``python -m pytest_unineuron.collect``: the documented command line of ``plugin.collect``."""

from pytest_unineuron.plugin.collect import fill_cache_and_exit

if __name__ == "__main__":
    fill_cache_and_exit()
