"""``python -m pytest_unineuron.collect``: the documented command line of ``plugin.collect``."""

from pytest_unineuron.plugin.collect import run

if __name__ == "__main__":
    run()
