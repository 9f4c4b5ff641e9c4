"""What measuring costs, against what it cannot do without: ``python -m benchmarks``. Never part of the tests."""
