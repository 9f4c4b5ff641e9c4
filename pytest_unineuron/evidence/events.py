"""The kinds of events of which the evidence of a run is made. An event is a dictionary of plain JSON data."""

START, PLAN, TOOK, CRASHED, ENDED, FINISHED = "start", "plan", "took", "crashed", "ended", "finished"
"""The run began, items were planned, a phase of an item arrived, an item's process died, a worker ended, the
run has come to its end."""
