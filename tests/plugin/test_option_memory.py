"""``--unineuron-memory``: past it, seeds are compared block by block, and a run says so."""

import numpy as np

TRIAL = """
@pytest.mark.gt3(source="x", controls=["shuffled"])
def test_matched(unineuron_universality, unineuron_measure):
    unineuron_measure("excess", unineuron_universality.neurons.mean_excess, above=0)
"""


def test_a_run_in_blocks_finds_the_same(two_seeds, trials, monkeypatch):
    """What is measured, on every arm, and one line for each comparison before it starts."""
    from pytest_unineuron.lab import lab
    from pytest_unineuron.universality.cost import Task
    from pytest_unineuron.universality.match import match
    from pytest_unineuron.universality.seeds import task_of

    trials.write(TRIAL)

    def run():
        found = trials.run(
            f"--unineuron-model={two_seeds[0]}",
            f"--unineuron-seed={two_seeds[1]}",
            "--unineuron-tokens=600",
            "--unineuron-correlation-tokens=300",
            "--unineuron-fail-on=never",
        )
        ((_, subject),) = found.report["trials"][0]["subjects"].items()
        (case,) = subject["cases"]
        arms = {"": case["subject"], **case["controls"]}
        measured = {name: arm["measurements"][0]["value"] for name, arm in arms.items()}
        return measured, [line for line in found.result.stdout.lines if " blocks" in line]

    def tight(subject, batches, seeds, *, memory, **more):
        task = task_of(subject, batches, seeds)
        assert memory > task.least + task.cross
        return match(subject, batches, seeds, memory=task.least + task.cross // 4, **more)

    whole, said = run()
    assert said == []
    for name in ("working", "comparing", "drawing"):  # tiny models have hardly any products beside a batch
        monkeypatch.setattr(Task, name, 0)
    monkeypatch.setattr(lab, "match", tight)
    found, said = run()
    assert found.keys() == whole.keys() == {"", "shuffled"}
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)
    assert len(said) == 2
