"""Options in all their forms, and which form wins."""

import pytest

from pytest_unineuron.errors import OptionError
from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.options.settings import DEFAULT_MODELS, OPTIONS, Settings
from pytest_unineuron.options.sources import check_names
from pytest_unineuron.options.sources import read as read_options
from tests.plugin.inner import HOLDS

NOTHING = {option.key: None for option in OPTIONS}


def read(given=None, environment=None, ini=None):
    return read_options({**NOTHING, **(given or {})}.get, {**NOTHING, **(ini or {})}.get, environment or {})


def test_options_have_defaults():
    """The default models are two nano models, which together are asked about all criteria."""
    assert read() == Settings()
    assert read().models == ("nano:neox-a", "nano:gpt2-a")
    assert {criterion for asked in DEFAULT_MODELS.values() for criterion in asked} == set(CRITERIA)


def test_command_line_beats_environment_beats_ini_beats_default():
    """The default is used only if an option is given in no form."""
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
    """Each form is that of one source: command line, environment or ini file. Duplicates are dropped."""
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
def test_a_wrong_value_is_an_error_that_names_the_right_ones(name, value, words):
    """The error names the option, its value and the values that it takes."""
    with pytest.raises(OptionError, match=words):
        read({f"unineuron_{name.replace('-', '_')}": value})


def test_the_error_names_the_source_of_the_value():
    """A value of the environment or of the ini file is not called a flag."""
    with pytest.raises(OptionError, match=r"^UNINEURON_ACCEPT_VACUOUS=maybe: say true or false"):
        read(environment={"UNINEURON_ACCEPT_VACUOUS": "maybe"})
    with pytest.raises(OptionError, match=r"^ini key unineuron_tokens=x"):
        read(ini={"unineuron_tokens": "x"})


SPELLINGS = ["UNINEURON_TOKNES", "UNINERON_TOKENS", "UNI_NEURON_TOKENS", "UNINEURONS_TOKENS", "unineuron_tokens"]


@pytest.mark.parametrize("given", SPELLINGS)
def test_a_misspelt_variable_is_refused_with_the_nearest_one(trials, monkeypatch, given):
    """The default would be used in silence otherwise."""
    monkeypatch.setenv(given, "99")
    refused = trials.write(HOLDS).run()
    assert refused.ret == 4
    refused.result.stderr.fnmatch_lines(
        [f"ERROR: {given}: there is no such environment variable; did you mean UNINEURON_TOKENS?"]
    )


def test_names_of_other_programs_are_not_ours():
    """They may share words with ours, or the end."""
    others = ["NEURON_CACHE_SIZE", "NEURON_RT_LOG_LEVEL", "NEURON_DEVICE", "OPENAI_MODEL", "GUNICORN_THREADS"]
    check_names(["timeout", "neurons", "xfail_strict", *map(str.lower, others)], [*others, "UNINEURON", "PATH"])


def test_a_misspelt_flag_is_refused_with_the_nearest_one(trials):
    """The message of pytest itself has no name to type."""
    refused = trials.write(HOLDS).run("--unineuron-tokns=9")
    assert refused.ret == 4
    refused.result.stderr.fnmatch_lines(
        ["ERROR: --unineuron-tokns: there is no such option; did you mean --unineuron-tokens?"]
    )


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("unineuron_modle", "model"),
        ("unineuron_control", "controls"),
        ("unineuron_tokns", "tokens"),
        ("unineuron-tokens", "tokens"),
        ("unineron_tokens", "tokens"),
        ("UNINEURON_TOKENS", "tokens"),
    ],
)
def test_a_misspelt_ini_key_is_refused_with_the_nearest_one(trials, given, near):
    """Also one that is given on the command line with -o; keys of others are pytest's to judge."""
    refused = trials.write(HOLDS).run("-o", f"{given}=x")
    assert refused.ret == 4
    trials.pytester.makeini(f"[pytest]\nothers_key = 1\n{given} = x\n")
    again = trials.run()
    assert again.ret == 4
    for found in (refused, again):
        found.result.stderr.fnmatch_lines(
            [f"ERROR: {given}: there is no such ini key; did you mean unineuron_{near}*?"]
        )
    trials.pytester.makeini("[pytest]\nothers_key = 1\nunineuron_tokens = 9\n")
    assert trials.run("--unineuron-model=nano:neox-a").report["settings"]["tokens"] == 9


def test_numbers_may_have_an_exponent():
    """1e5 tokens are 100,000 tokens."""
    assert read({"unineuron_tokens": "1e5"}).tokens == 100_000


def test_settings_are_converted_to_plain_data():
    """They are stored in the report as JSON."""
    assert read().as_dict()["corpus"] == ["news", "code", "multilingual"]


def test_every_option_is_in_the_help(trials):
    """The help also lists the ini keys."""
    found = trials.run("--help")
    for option in OPTIONS:
        assert option.flag in found.result.stdout.str()
    found.result.stdout.fnmatch_lines(["*unineuron_policy (string):*"])


def test_options_in_the_ini_file_are_used(trials):
    """The command line overrides them."""
    trials.pytester.makeini("[pytest]\nunineuron_model =\n    nano:gpt2-a\nunineuron_policy = any\n")
    trials.write("@pytest.mark.gt2(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run("--unineuron-policy=all")
    assert found.report["settings"]["model"] == ["nano:gpt2-a"]
    assert found.report["policy"] == "all"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--unineuron-model=nano:gpt9"], "model nano:gpt9: there is no such nano model; there are *nano:neox-a*"),
        (["--unineuron-model=untrained:"], "model untrained:: name a model after the colon*"),
        (["--unineuron-model=./nowhere"], "model ./nowhere: no such folder; give a folder with config.json*"),
        (["--unineuron-model="], "--unineuron-model: is empty; leave it out for the default"),
        (["--unineuron-corpus=novels"], "corpus novels: no such corpus, file or folder; known by name: code*"),
        (["--unineuron-corpus=gone.txt"], "corpus gone.txt: no such corpus, file or folder*"),
        (["--unineuron-reference=novels"], "corpus novels: no such corpus*"),
        (["--unineuron-controls=lobotomy"], "*there is no control lobotomy; choose default, none, or from untrained*"),
        (
            ["--unineuron-controls=none", "--unineuron-controls=untrained"],
            "*none cannot be combined with other values*",
        ),
        (["--unineuron-policy=most"], "--unineuron-policy=most: choose primary*"),
        (["--unineuron-model=neox-a"], "model neox-a: no such folder; did you mean nano:neox-a?"),
        (["--unineuron-model=nano:neox-aa"], "model nano:neox-aa: *; did you mean nano:neox-a?"),
        (["--unineuron-model=./latset"], "model ./latset: no such folder; *; did you mean latest?"),
        (["--unineuron-model=latest"], "model latest: there are no weights (*.safetensors) in *"),
        (["--unineuron-seed=pickled"], "model pickled: its weights are pickled (pytorch_model.bin)*"),
        (["--unineuron-model=listed"], "model listed: its config.json is not a JSON object*"),
        (["--unineuron-corpus=nwes"], "corpus nwes: *; did you mean news?"),
        (["--unineuron-corpus=./my_txt.txt"], "corpus ./my_txt.txt: *; did you mean my_text.txt?"),
        (["--unineuron-corpus=words.docx"], "corpus words: words.docx is of none of these kinds: .txt*"),
        (["--unineuron-reference=rows.jsonl"], "corpus rows: rows.jsonl, line 2: not JSON*"),
        (["--unineuron-corpus=my_text.txt"], "corpus my_text: 1 document with text, needs at least 2*"),
        (["--unineuron-corpus=empty"], "corpus empty: empty holds no file of these kinds: *"),
        (["--unineuron-controls=shufled"], "*there is no control shufled; *; did you mean shuffled?"),
        (["--unineuron-controls=untrained,shuffled"], "*untrained,shuffled; *; give the option once for each"),
        (
            ["--unineuron-device=gpu"],
            "--unineuron-device=gpu: there is no such device; choose auto, cpu, cuda*; did you mean cpu?",
        ),
        (["--unineuron-device=cuda1"], "--unineuron-device=cuda1: there is no such device; *; did you mean cuda?"),
        (["--unineuron-device=cuda:99"], "--unineuron-device=cuda:99: cannot be used here (*); try cpu"),
        (
            ["--unineuron-findings=./emtpy"],
            "--unineuron-findings=emtpy: there is no such folder; *; did you mean empty?",
        ),
        (["--unineuron-findings=empty"], "*there is no folder dataframes/interpretable_neurons*"),
        (
            ["--unineuron-write-lock=empty/"],
            "--unineuron-write-lock=empty/: is a folder; *: pytest-unineuron lock FILE empty/",
        ),
    ],
)
def test_a_wrong_value_ends_the_run_before_anything_is_measured(trials, monkeypatch, args, words):
    """The exit status is 4. There is no traceback and no report."""
    for name, config in (("latest", "{}"), ("pickled", "{}"), ("listed", "[]")):
        (trials.path / name).mkdir()
        (trials.path / name / "config.json").write_text(config)
    (trials.path / "pickled" / "pytorch_model.bin").touch()
    (trials.path / "empty").mkdir()
    for name, text in (("my_text.txt", "One."), ("words.docx", "One."), ("rows.jsonl", '{"text": "One."}\n{"tex')):
        (trials.path / name).write_text(text)
    monkeypatch.chdir(trials.path)
    trials.write("@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run(*args)
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: {words}"])
    found.result.stderr.no_fnmatch_line("*Traceback*")
    assert found.report is None


def test_half_of_a_surrogate_pair_costs_one_corpus(trials, monkeypatch):
    """Its trials are errors that name the line; those on another corpus have results."""
    monkeypatch.chdir(trials.path)
    (trials.path / "half.jsonl").write_text('{"text": "One."}\n{"text": "Two \\ud83d."}\n')
    body = """
@pytest.mark.gt2(source="x", controls=["untrained"])
def test_claim(unineuron_case, unineuron_corpus, unineuron_lab):
    unineuron_lab.corpus(unineuron_corpus)
    measure("x", 0 if unineuron_case.control else 1, above=0.5)
"""
    asked = ("--unineuron-model=nano:neox-a", "--unineuron-corpus=half.jsonl", "--unineuron-corpus=news")
    found = trials.write(body).run(*asked)
    assert (found.outcome("claim[half]"), found.outcome("claim[news]")) == ("ERROR", "PASS")
    assert "half.jsonl, line 2" in found.reason("claim[half]")


def test_files_of_a_folder_that_are_not_read_are_named(trials, nano_modules):
    """It is no warning, which pytest can be asked to raise wherever it is given."""
    folder = trials.path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "README.md"):
        (folder / name).write_text(f"The text of {name}.")
    body = """
@pytest.mark.gt2(source="x", controls=[])
def test_claim(unineuron_corpus, unineuron_neurons):
    unineuron_neurons.pre.kurtosis
    measure("x", 1, above=0.5)
"""
    warnings = ("-Werror::UserWarning", "-Wignore::pytest.PytestAssertRewriteWarning")  # this process has the plugin
    found = trials.write(body).run("--unineuron-model=nano:neox-a", f"--unineuron-corpus={folder}", *warnings)
    found.result.assert_outcomes(passed=1)
    found.result.stdout.fnmatch_lines(["NOT READ in the folder texts: README.md"])


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("zo", "UNINEURON_ZOO=zo: there is no such folder; * or unset it; did you mean zoo?"),
        ("zoo", "UNINEURON_ZOO=zoo: no folder in it has a config.json; name the folder of the folders of models*"),
        ("zoo/file", "UNINEURON_ZOO=zoo/file: there is no such folder; *"),
    ],
)
def test_a_zoo_without_models_is_refused(trials, monkeypatch, folder, message):
    """The model of this name that ships would be measured instead. Other models do not need it."""
    (trials.path / "zoo").mkdir()
    (trials.path / "zoo" / "file").touch()
    monkeypatch.chdir(trials.path)
    monkeypatch.setenv("UNINEURON_ZOO", folder)
    found = trials.write(HOLDS).run("--unineuron-model=nano:neox-a")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert trials.run("--unineuron-model=acme/model", "--collect-only").ret == 0
