"""What a trial declares, what it measures, and what comes of it. Plain Python: no torch, no numpy, no pytest."""
