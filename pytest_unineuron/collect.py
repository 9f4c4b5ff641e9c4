"""``python -m pytest_unineuron.collect``: the documented command line of ``plugin.fill_cache``."""

from pytest_unineuron.plugin.fill_cache import fill_cache_and_exit

if __name__ == "__main__":
    fill_cache_and_exit()
