"""The claims ledger: complete, checked, and in step with the experiments that it names."""

import re

import pytest
import yaml

from data2vec.errors import UserError
from data2vec.reporting.experiments import load_experiments
from data2vec.reporting.ledger import load_ledger
from data2vec.reporting.names import CONTROLS, METHODS

# How many claims each document makes.
CLAIMS = {"S0": 17, "S1": 23, "S2": 23, "S3": 13, "S4": 22}
CODES = set(
    "E-UNI E-VIS E-SPK E-TXT E-LAB E-K E-CTX E-FEAT E-NORM E-EMA E-LOSS E-MASK E-VISTOK E-MULTI E-DEC E-TIME E-LOCAL "
    "E-XFER E-DOC".split()
)


@pytest.fixture(scope="module")
def path(synthetic):
    return synthetic.PROJECT / "config" / "claims.yaml"


@pytest.fixture(scope="module")
def ledger(path):
    return load_ledger(path)


def test_every_claim_of_the_five_documents_is_there_in_order(ledger):
    expected = [f"{key}-{number}" for key, n in CLAIMS.items() for number in range(1, n + 1)]
    assert len(expected) == 98
    assert [claim.id for claim in ledger.claims] == expected


def test_claims_name_known_experiment_codes(ledger):
    assert {code for claim in ledger.claims for code in claim.experiments} == CODES


def test_each_experiment_of_a_test_has_a_file(ledger, synthetic):
    files = {path.stem for path in (synthetic.PROJECT / "config" / "experiments").glob("*.yaml")}
    named = {one.experiment for one in ledger.comparisons.values()} - {"main"}
    assert named <= files, f"no file for {sorted(named - files)}"


def test_each_value_of_a_test_is_one_of_its_experiment(ledger, synthetic):
    experiments = load_experiments(synthetic.PROJECT / "config" / "experiments", [])
    for name, one in ledger.comparisons.items():
        keys = ("a", "b", "value") if one.kind != "time_ratio" else ("method", "rival")
        values = {getattr(one, key) for key in keys if hasattr(one, key)}
        if one.experiment in experiments:
            assert values <= {point for points in experiments[one.experiment].values.values() for point in points}, name


def test_methods_of_the_tests_exist(ledger):
    sides = {
        side
        for one in ledger.comparisons.values()
        if one.experiment == "main"
        for side in (*getattr(one, "methods", ()), *(getattr(one, key, "") for key in ("a", "b", "method", "rival")))
        if side
    }
    assert sides <= {*METHODS, *CONTROLS.values()}


def test_experiment_files_name_claims_that_exist(ledger, synthetic):
    ids = {claim.id for claim in ledger.claims}
    for file in (synthetic.PROJECT / "config" / "experiments").glob("*.yaml"):
        assert set(yaml.safe_load(file.read_text()).get("claims", [])) <= ids, file.name


def slug(heading):
    """The anchor that a heading has on the web."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_every_link_into_the_documentation_leads_to_a_heading(ledger, synthetic):
    links = {claim.docs for claim in ledger.claims} | {one.docs for one in ledger.comparisons.values()}
    for link in links - {""}:
        file, _, anchor = link.partition("#")
        headings = re.findall(r"^#+ (.*)$", (synthetic.PROJECT / file).read_text(), re.M)
        assert anchor in map(slug, headings), link


def test_the_tests_that_hold_a_construction_exist(ledger, synthetic):
    paths = {path for one in ledger.comparisons.values() for path in getattr(one, "checked_by", ())}
    assert paths
    assert all((synthetic.PROJECT / path).is_file() for path in paths)


def claim(**changes):
    return {
        "id": "S0-1",
        "claim": "x",
        "experiments": ["E-K"],
        "verdict_of_papers": "correct",
        "tests": ["k"],
        **changes,
    }


COMPARISON = {"kind": "best_over", "experiment": "k_layers", "modalities": ["vision"], "value": 1}


def write(path, claims, **comparison):
    content = {
        "metrics": {"vision": ["linear_top1"]},
        "documents": {"S0": {"title": "t", "subject": "s"}},
        "comparisons": {"k": {**COMPARISON, **comparison}},
        "claims": claims,
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("claims", "comparison", "words"),
    [
        ([claim(verdict_of_papers="true")], {}, "claim S0-1, verdict_of_papers: .*correct.*'true'"),
        ([claim(), claim()], {}, "claim S0-1: the id is used twice"),
        ([claim(tests=["q"])], {}, "claim S0-1: no comparison 'q'"),
        ([claim(tests=[])], {}, "claim S0-1: neither tests nor docs"),
        ([claim(experiments=["E-DOC"])], {}, "claim S0-1: E-DOC has no tests"),
        ([claim(id="S9-1")], {}, "claim S9-1: no document S9"),
        ([claim(threshold=1)], {}, "claim S0-1, threshold: Extra inputs"),
        ([claim()], {"kind": "guess"}, "comparison k: .*guess"),
        ([claim()], {"seeds": 1}, "comparison k, seeds: .*greater than or equal to 2"),
        ([claim()], {"published": [{"a": {"table": "t"}}]}, "comparison k, published, 0: give either row, or a and b"),
        ([claim(tests=[], docs="docs/claims.md#hopes")], {}, "comparison k: no claim uses it"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(tmp_path, claims, comparison, words):
    with pytest.raises(UserError, match=words) as error:
        load_ledger(write(tmp_path / "claims.yaml", claims, **comparison))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "just words"])
def test_a_file_that_is_no_ledger_is_said(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=r"claims\.yaml: "):
        load_ledger(tmp_path / "claims.yaml")


def test_values_are_spelt_as_in_the_results(tmp_path):
    assert load_ledger(write(tmp_path / "c.yaml", [claim()], value=1)).comparisons["k"].value == "1"
    assert load_ledger(write(tmp_path / "c.yaml", [claim()], value=True)).comparisons["k"].value == "True"
