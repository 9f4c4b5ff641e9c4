"""What trials declare and measure, their outcomes, and the verdicts. Plain Python: no torch, numpy or pytest."""
