"""What a run leaves behind: the evidence, and its forms for machines and people. No torch, no numpy."""
