"""The trials. Installed, they are the package pytest_unineuron.evals: ``pytest --pyargs pytest_unineuron.evals``."""
