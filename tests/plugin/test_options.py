"""Every option in all its forms, and the order in which they win."""

import pytest

from pytest_unineuron.errors import OptionError
from pytest_unineuron.options.settings import OPTIONS, Settings
from pytest_unineuron.options.sources import read as read_options

NOTHING = {option.key: None for option in OPTIONS}


def read(given=None, environment=None, ini=None):
    return read_options({**NOTHING, **(given or {})}.get, {**NOTHING, **(ini or {})}.get, environment or {})


def test_nothing_given_is_the_default():
    """Two nano models, three corpora of new data, everything else as documented."""
    assert read() == Settings()
    assert read().model == ("nano:neox-a", "nano:gpt2-a")


def test_command_line_beats_environment_beats_ini_beats_default():
    """In this order, for one value and for lists."""
    forms = {
        "given": {"unineuron_policy": "any"},
        "environment": {"UNINEURON_POLICY": "all"},
        "ini": {"unineuron_policy": "majority"},
    }
    assert read(**forms).policy == "any"
    assert read(environment=forms["environment"], ini=forms["ini"]).policy == "all"
    assert read(ini=forms["ini"]).policy == "majority"
    assert read().policy == "primary"


def test_lists_come_repeated_comma_separated_or_in_lines():
    """On the command line, in the environment, in the ini file; repeats are dropped."""
    assert read({"unineuron_corpus": ["a", "b", "a"]}).corpus == ("a", "b")
    assert read(environment={"UNINEURON_CORPUS": "a, b"}).corpus == ("a", "b")
    assert read(ini={"unineuron_corpus": ["a", "b"]}).corpus == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("policy", "most", "--unineuron-policy=most: choose primary, all, majority or any"),
        ("tokens", "many", "--unineuron-tokens=many: give a whole number of at least 1"),
        ("tokens", "0", "at least 1"),
        ("tokens", "1.5", "whole number"),
        ("control-draws", "-1", "at least 1"),
        ("fail-on", "trials", "choose trial, criterion, regression or never"),
        ("dtype", "int8", "choose float32"),
        ("out", "", "is empty; leave it out for 'evaluation'"),
    ],
)
def test_nonsense_is_named_with_what_would_be_right(name, value, words):
    """The option, what was found, what it takes."""
    with pytest.raises(OptionError, match=words):
        read({f"unineuron_{name.replace('-', '_')}": value})


def test_the_error_names_where_the_value_came_from():
    """An environment variable is not called a flag."""
    with pytest.raises(OptionError, match=r"^UNINEURON_ACCEPT_VACUOUS=maybe: say true or false"):
        read(environment={"UNINEURON_ACCEPT_VACUOUS": "maybe"})
    with pytest.raises(OptionError, match=r"^ini key unineuron_tokens=x"):
        read(ini={"unineuron_tokens": "x"})


def test_numbers_may_be_written_as_people_write_them():
    """1e5 tokens are 100 000."""
    assert read({"unineuron_tokens": "1e5"}).tokens == 100_000


def test_settings_are_plain_data():
    """They are stored with the results."""
    assert read().as_dict()["model"] == ["nano:neox-a", "nano:gpt2-a"]


def test_every_option_is_in_the_help(trials):
    """With its default."""
    found = trials.run("--help")
    for option in OPTIONS:
        assert option.flag in found.result.stdout.str()
    found.result.stdout.fnmatch_lines(["*unineuron_policy (string):*"])


def test_options_in_the_ini_file_are_used(trials):
    """And the command line still wins."""
    trials.pytester.makeini("[pytest]\nunineuron_model =\n    nano:gpt2-a\nunineuron_policy = any\n")
    trials.write("@pytest.mark.gt2(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run("--unineuron-policy=all")
    assert found.report["settings"]["model"] == ["nano:gpt2-a"]
    assert found.report["policy"] == "all"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--unineuron-model=nano:gpt9"], "model nano:gpt9: there is no such nano model; there are *nano:neox-a*"),
        (["--unineuron-model=./nowhere"], "model ./nowhere: no such folder; give a folder with config.json*"),
        (["--unineuron-model="], "--unineuron-model: is empty; leave it out for nano:neox-a, nano:gpt2-a"),
        (["--unineuron-corpus=novels"], "corpus novels: no such corpus, file or folder; known by name: code*"),
        (["--unineuron-corpus=gone.txt"], "corpus gone.txt: no such corpus, file or folder*"),
        (["--unineuron-reference=novels"], "corpus novels: no such corpus*"),
        (["--unineuron-controls=lobotomy"], "*there is no control lobotomy; choose default, none, or from untrained*"),
        (
            ["--unineuron-controls=none", "--unineuron-controls=untrained"],
            "*none cannot be combined with other values*",
        ),
        (["--unineuron-policy=most"], "--unineuron-policy=most: choose primary*"),
        (["--unineuron-findings=./nowhere"], "*there is no folder dataframes/interpretable_neurons*"),
    ],
)
def test_bad_values_end_the_run_in_one_line_before_anything_is_collected(trials, args, words):
    """Exit status 4, no traceback, nothing written."""
    trials.write("@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run(*args)
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: {words}"])
    found.result.stderr.no_fnmatch_line("*Traceback*")
    assert found.report is None
