"""Models: swapped, damaged, hostile; and what is remembered about them. These rows import torch."""

import json
import shutil
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.faults.ground import MEASURES
from tests.faults.registry import fault

MODEL = ["--unineuron-model=./tiny"]
WEIGHTS = "unineuron_case, unineuron_weights"
_made = threading.Lock()


@cache
def _saved(seed):
    from tests.models.tiny import build, tokenizer

    folder = Path(mkdtemp(prefix="faults-model-"))
    build("gpt_neox", seed=seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tiny(ground, seed=0):
    """A tiny random model in the folder ``tiny``."""
    with _made:
        made = _saved(seed)
    folder = ground.path / "tiny"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    return folder


def _refused(ground, *words):
    """Loading it is an ERROR in a sentence; what needs no model is measured."""
    run = ground.trials(MEASURES, fixtures=WEIGHTS).pytest(models=MODEL, controls="none")
    ground.expect(run.status in (1, 4), f"exit {run.status}")
    if run.status == 1:
        found = run.outcome("here", "tiny")
        ground.expect(found == "ERROR", f"here is {found}")
    run.says(*words).never_says("INTERNALERROR")
    return run


@fault(
    "the weights are swapped for others between a run and the next, against a baseline",
    "incomparable: other weights; exit 23",
)
def weights_swapped_under_a_baseline(ground):
    tiny(ground)
    ground.pytest(models=MODEL).ends_with(0)
    ground.expect(ground.cli("accept", "--baseline", "b.json").status == 0, "the baseline was refused")
    tiny(ground, seed=1)
    ground.pytest("--unineuron-baseline=b.json", models=MODEL).ends_with(23).says(
        "other weights or configuration: tiny"
    )


@fault("the weights are swapped for others after the claim was locked", "exit 24, which names the model")
def weights_swapped_under_a_lock(ground):
    tiny(ground)
    ground.pytest("--unineuron-write-lock=claim.lock", models=MODEL).ends_with(0)
    ground.runs[-1].noted.clear()  # a run that locks writes no report
    tiny(ground, seed=1)
    ground.pytest("--unineuron-lock=claim.lock", models=MODEL).ends_with(24).says("LOCK:", "tiny has other content")


@fault(
    "the weights are swapped for others between a killed run and the next", "all is measured anew on the new weights"
)
def weights_swapped_before_resuming(ground):
    from tests.faults.controller import KILL

    tiny(ground)
    ground.trials(KILL.format("os.getpid()")).pytest(models=MODEL)
    tiny(ground, seed=1)
    run = ground.pytest(models=MODEL).ends_with(0)
    ground.expect(run.resumed == 0, f"{run.resumed} results taken over")


@fault(
    "the weights are swapped for others while the run goes on, after they were loaded",
    "what is said to have been measured is what was loaded",
)
def weights_swapped_while_running(ground):
    tiny(ground)
    other = ground.path / "other"
    with _made:
        shutil.copytree(_saved(1), other)
    body = 'import shutil; shutil.copy("other/model.safetensors", "tiny/model.safetensors")\n' + MEASURES
    run = ground.trials(body, fixtures=WEIGHTS).pytest("-k", "here", models=MODEL, controls="none")
    from pytest_unineuron.models.loading.identity import identity
    from pytest_unineuron.models.loading.source import parse

    with _made:
        loaded = identity(parse(str(_saved(0))))
    (case,) = next(t for t in run.report["trials"] if t["name"] == "here")["subjects"]["tiny"]["cases"]
    said = case["subject"]["made_from"].get("models", {}).get("tiny", "nothing")
    ground.expect(said == loaded or case["subject"]["outcome"] == "ERROR", "the digest is that of weights not measured")


@fault("the weights are a pickle with a payload (pytorch_model.bin)", "refused, and the payload is not run")
def pickled_weights(ground):
    folder = tiny(ground)
    (folder / "model.safetensors").unlink()
    _payload(ground, folder / "pytorch_model.bin")
    _refused(ground, "pickled")
    ground.expect(not (ground.root / "payload").exists(), "the payload was run")


@fault("the weights are a pickle with a payload that is named model.safetensors", "refused, and the payload is not run")
def disguised_pickle(ground):
    folder = tiny(ground)
    _payload(ground, folder / "model.safetensors")
    _refused(ground, "damaged or incomplete")
    ground.expect(not (ground.root / "payload").exists(), "the payload was run")


def _payload(ground, path):
    import pickle

    class Payload:
        def __reduce__(self):
            return Path.touch, (ground.root / "payload",)

    path.write_bytes(pickle.dumps(Payload()))


@fault("the folder has code of its own (auto_map, modeling.py)", "the code is not run")
def code_in_the_folder(ground):
    folder = tiny(ground)
    (folder / "modeling.py").write_text(f"open({str(ground.root / 'payload')!r}, 'w')\nclass Model: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model", "AutoModel": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    ground.trials(MEASURES, fixtures=WEIGHTS).pytest(models=MODEL, controls="none")
    ground.expect(not (ground.root / "payload").exists(), "the code was run")


@fault("the weights are cut off in the middle", "refused: damaged or incomplete")
def weights_truncated(ground):
    path = tiny(ground) / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _refused(ground, "damaged or incomplete")


@fault("a weight is NaN", "refused, or undefined: never PASS")
def weights_with_nan(ground):
    from safetensors.numpy import load_file, save_file

    path = tiny(ground) / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "dense_h_to_4h.weight" in name)
    tensors[name].flat[0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    _refused(ground, "not finite")


def _remembered(ground, damage):
    """A run, damage to what it remembered, and a run that has to come to the same."""
    tiny(ground)
    ground.trials(MEASURES, fixtures=WEIGHTS)
    first = ground.pytest("-k", "here", models=MODEL, controls="none")
    plans = list((ground.path / ".pytest_cache" / "d" / "unineuron").glob("*.json"))
    ground.expect(plans, "nothing was remembered")
    for path in plans:
        path.write_bytes(damage(path.read_bytes()))
    second = ground.pytest("-k", "here", "--unineuron-resume=never", models=MODEL, controls="none")
    ground.expect(second.status == first.status, f"exit {second.status} instead of {first.status}")
    ground.expect(second.outcomes == first.outcomes, f"{second.outcomes} instead of {first.outcomes}")
    found = [run.report["models"].get("tiny", {}).get("neurons") for run in (first, second)]
    ground.expect(found[0] == found[1], f"{found[1]} neurons are found instead of {found[0]}")


@fault("what is remembered of a model (pytest's cache) is cut off", "it is found again; the result is the same")
def cache_truncated(ground):
    _remembered(ground, lambda data: data[: len(data) // 2])


@fault(
    "what is remembered of a model names other weights (bytes flipped)",
    "the checks on load notice; the result is the same",
)
def cache_flipped(ground):
    _remembered(ground, lambda data: data.replace(b"dense_h_to_4h", b"dense_4h_to_h").replace(b"64", b"46"))


@fault("what is remembered of a model is of another version: other keys", "it is found again; the result is the same")
def cache_of_another_version(ground):
    _remembered(
        ground, lambda data: json.dumps({"version": 99, **json.loads(data)}).encode().replace(b'"sites"', b'"places"')
    )


@fault("what is remembered of a model is of another layer", "the checks on load notice; the result is the same")
def cache_of_another_layer(ground):
    _remembered(ground, lambda data: data.replace(b"layers.0", b"layers.1"))
