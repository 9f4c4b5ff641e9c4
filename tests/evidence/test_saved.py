"""Saved reports: read as they were written, refused if they are damaged, and judged again from their measurements."""

import json

import fastjsonschema
import pytest

from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import saved, strict_json
from pytest_unineuron.evidence.distribution import Distribution, LayerQuantiles
from pytest_unineuron.evidence.layer_table import LayerTable
from pytest_unineuron.evidence.summary import report_data, summary_data
from tests.evidence.made import arm, distribution, evidence, share

RUN = evidence(
    {
        ("heavy", "news", "m"): arm(share(0.9, error=0.02, parts=[[0.1] * 16, [0.2] * 16])),
        ("dense", "", "m"): arm(share(float("nan"))),
        ("rare", "news", "m"): None,
    },
    distributions=(
        distribution(),
        distribution("excess", control="untrained", draw=2),
        Distribution("m", "", "", 1, "composition", (LayerQuantiles(None, 0, ()),)),
    ),
    tables=(LayerTable("m", "news", "", 1, "partners", ("neuron", "excess", "seed"), ((3, 17, 0.7, "other"),)),),
)


@pytest.fixture
def write_report(tmp_path):
    """A function that writes data as a report, with its digest unless ``digest`` is False."""

    def write(data, digest=True):
        path = tmp_path / "report.json"
        content = {key: value for key, value in data.items() if key != strict_json.DIGEST_KEY}
        path.write_text(strict_json.to_json(strict_json.add_digest(content) if digest else data), encoding="utf-8")
        return path

    return write


def test_a_report_is_read_as_it_was_written(write_report):
    """Evidence, report and summary of a report that was read equal those that were written."""
    again = saved.read_report(write_report(report_data(RUN)))
    assert again == RUN
    assert report_data(again) == report_data(RUN)
    assert summary_data(again) == summary_data(RUN)


def test_the_schema_is_valid_and_names_every_key():
    """The schema is one of draft 7, fits a report, and requires exactly the keys of a report."""
    schema = saved.report_schema()
    fastjsonschema.compile(schema)(strict_json.add_digest(report_data(RUN)))
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"]) == {*report_data(RUN), "digest"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d | {"schema_version": 7},
            "(schema 7, this one reads 6); pip install --upgrade",
        ),
        (lambda d: d | {"schema_version": 1}, "of schema 1, this version reads 5 to 6; make one: pytest evals/"),
        (lambda d: {k: v for k, v in d.items() if k != "schema_version"}, "no schema_version, so it is not a report"),
        (lambda d: d | {"trials": 3}, "trials must be array"),
        (lambda d: d | {"created": "2026-02-31T00"}, "created on a day that does not exist"),
        (lambda d: d | {"trials": d["trials"] * 2}, "lists an item twice"),
        (lambda d: d | {"forward_passes": -1}, "forward_passes must be bigger than or equal to 0"),
        (lambda d: d | {"note": "mine"}, "must not contain {'note'} properties"),
        (
            lambda d: d | {"distributions": [{**d["distributions"][0], "rows": [[None, 4, 0.5]]}]},
            "distributions[0].rows[0] must be valid exactly by one definition",
        ),
    ],
)
def test_a_file_that_is_not_a_report_is_refused_in_one_sentence(write_report, change, message):
    """The error names the file, what is wrong with it and what to type."""
    path = write_report(change(report_data(RUN)))
    with pytest.raises(ReportError) as caught:
        saved.read_report(path, "baseline")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"baseline {path}: ")
    assert "\n" not in str(caught.value)


def test_an_outcome_that_does_not_follow_from_the_measurements_is_refused(write_report):
    """A false outcome is refused even if the digest of the file is right."""
    data = json.loads(json.dumps(report_data(RUN)))
    case = data["trials"][0]["subjects"]["m"]["cases"][0]
    case["outcome"] = "FAIL"
    with pytest.raises(ReportError, match=r"says FAIL for heavy\[news\] on m, its measurements come to PASS"):
        saved.read_report(write_report(data))
    case["outcome"] = "PASS"
    case["subject"]["measurements"][0]["low"] = 0.4
    with pytest.raises(ReportError, match=r"says PASS for .*test_heavy\[m-news\], which its measurements do not show"):
        saved.read_report(write_report(data))


def test_a_changed_number_is_refused_and_another_layout_is_not(write_report):
    """The digest depends on the content of a file, not on the order of its keys."""
    data = strict_json.add_digest(report_data(RUN))
    path = write_report(data, digest=False)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert saved.read_report(path) == RUN
    path.write_text(path.read_text().replace('"value": 0.9', '"value": 0.8'))
    with pytest.raises(ReportError, match="was changed or damaged after it was written"):
        saved.read_report(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged or incomplete"),
        (b'{"schema_version": 2, "x": NaN}', "NaN is not JSON"),
        (b'{"schema_version": 2, "x": 1e999}', "too large for a float"),
        (b'{"schema_version": 2, "schema_version": 2}', "the key 'schema_version' is given twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "is a JSON list and not a report"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b'{"schema_version": 5}', "has no digest"),
        (b'{"schema_version": true}', "has no schema_version"),
    ],
)
def test_a_file_that_is_not_strict_json_is_refused(tmp_path, content, message):
    """Files that are cut off, contain nan or a repeated key, or hold something other than an object are refused."""
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=message):
        saved.read_report(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    """The error says that there is no such file, or that it cannot be read."""
    with pytest.raises(ReportError, match=r"there is no such file; make one: pytest evals/"):
        saved.read_report(tmp_path / "none.json")
    with pytest.raises(ReportError, match="cannot be read"):
        saved.read_report(tmp_path)


def of_schema_5(run):
    """A report as schema 5 had it."""
    later = ("distributions", "tables")
    return {**{key: value for key, value in report_data(run).items() if key not in later}, "schema_version": 5}


def test_a_report_of_schema_5_is_read_without_distributions(write_report):
    """All else in it stays as it was."""
    new = report_data(saved.read_report(write_report(of_schema_5(RUN))))
    assert new == {**report_data(RUN), "distributions": [], "tables": []}
