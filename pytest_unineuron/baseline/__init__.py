"""What a run is compared with or held to: an accepted report, waivers, a lock; and the journal of a run."""
