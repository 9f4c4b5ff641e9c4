"""From outcomes to the GT1–GT3 checklist: criteria in words, verdicts by a declared policy, rationale from numbers."""
