"""What trials declare, measure and come to, and the verdicts. Plain Python: no torch, no numpy, no pytest."""
