"""Not a trial: were the neurons of the models under test found where they are?"""


def test_neurons_are_what_they_should_be(verified):
    """The products, sums and functions of every layer gives back what the model computes."""
    assert verified, "nothing was checked"
    for identity, found in verified.items():
        assert found["sites"] > 0, identity
        assert found["error"] < 0.05, f"{identity} fails by {found['error']:.2g} of the largest value"
