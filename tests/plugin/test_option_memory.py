"""``--unineuron-memory``: seeds are compared block by block if the comparison needs more than this."""

import numpy as np

TRIAL = """
@pytest.mark.gt3(source="x", controls=["shuffled"])
def test_matched(unineuron_universality, unineuron_measure):
    unineuron_measure("excess", unineuron_universality.neurons.mean_excess, above=0)
"""


def test_a_run_in_blocks_finds_the_same(two_seeds, trials, monkeypatch):
    """Every arm has the same measurements, and one line for each arm announces the blocks."""
    from pytest_unineuron.universality import match
    from pytest_unineuron.universality.blocks import blocks_within
    from pytest_unineuron.universality.cost import ComparisonCost

    trials.write(TRIAL)

    def run():
        found = trials.run(
            f"--unineuron-model={two_seeds[0]}",
            f"--unineuron-seed={two_seeds[1]}",
            "--unineuron-tokens=600",
            "--unineuron-correlation-tokens=300",
            "--unineuron-fail-on=never",
            "--unineuron-no-cache",
        )
        ((_, subject),) = found.report["trials"][0]["subjects"].items()
        (case,) = subject["cases"]
        arms = {"": case["subject"], **case["controls"]}
        values = {name: arm["measurements"][0]["value"] for name, arm in arms.items()}
        return values, [line for line in found.result.stdout.lines if " blocks of products within " in line]

    whole, lines = run()
    assert lines == []
    for name in (
        "working_bytes",
        "held_out_bytes",
        "drawing_bytes",
    ):  # they are larger than the products of tiny models
        monkeypatch.setattr(ComparisonCost, name, 0)
    # The option has no value as small as the products of tiny models.
    monkeypatch.setattr(
        match, "blocks_within", lambda cost, _: blocks_within(cost, cost.least_bytes + cost.product_bytes // 4)
    )
    found, lines = run()
    assert found.keys() == whole.keys() == {"", "shuffled"}
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)
    assert len(lines) == 2
