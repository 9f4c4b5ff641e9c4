"""The references for a run: an accepted report, waivers and a lock; and the journal of a run."""
