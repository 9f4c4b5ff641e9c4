"""The declarations, measurements and outcomes of trials, and the verdicts. Plain Python: no torch, numpy or pytest."""
