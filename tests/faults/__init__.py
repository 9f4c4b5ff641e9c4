"""The fault table: real faults in real runs, what was promised, what happened, and what was lost.

``python -m tests.faults`` runs all of them and prints a row for each; ``--only NAME`` runs some, ``--out FILE``
writes the table. It ends with status 1 where a promise is broken. It is no part of ``pytest tests/``.

To add a row, write a function in the file of its topic (or a new file, named in ``__main__.TOPICS``)::

    @fault("a trial calls sys.exit(0)", "the trial is an ERROR and the others are measured")
    def exits(ground):
        run = ground.trials("sys.exit(0)").pytest()
        run.ends_with(1)
        run.has(before="PASS", here="ERROR", after="PASS")

The first text is the fault, the second the promise. ``ground`` is a folder of its own with a file of three trials, of
which the middle one has the given body (``ground.py``); ``pytest`` runs the real thing in a process of its own. What
is expected and not so makes the row BROKEN and is told in it. What was lost is counted for every row without being
asked (``account.py``): a witness inside the run (``witness.py``) writes down every item that was collected and every
number that was handed over, and each has to be found again in the report of the run, or in what
``pytest-unineuron report JOURNAL`` makes of its journal.
"""
