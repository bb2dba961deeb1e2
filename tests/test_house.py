"""The project's own promises: one list of packages, scripts that say what they take."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_inline_script_metadata_equals_requirements():
    """`uv run lcre_classifier.py` reads the PEP 723 block; it must ask for what requirements.txt asks for."""
    text = (ROOT / "lcre_classifier.py").read_text()
    block = re.search(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", text)
    metadata = tomllib.loads("".join(line[2:] + "\n" for line in block[1].splitlines()))
    assert metadata["dependencies"] == (ROOT / "requirements.txt").read_text().split("\n")[:-1]
    assert metadata["requires-python"] == ">=3.11"


def test_code_is_formatted_and_linted():
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def imports_of(path: Path) -> set[str]:
    """Return the modules of the project that a file imports, at any depth: `core`, `lcre.check`, `lcre_classifier`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return {name for name in found if name in MODULES}


SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
PACKAGES = {name: sorted((ROOT / name).glob("*.py")) for name in ("core", "lcre", "creator")}
MODULES = {*SCRIPTS, *PACKAGES} | {f"{name}.{path.stem}" for name, paths in PACKAGES.items() for path in paths}


@pytest.mark.parametrize(("package", "below"), [("core", []), ("lcre", ["core"]), ("creator", ["core"])])
def test_packages_import_only_what_lies_below(package, below):
    """`core` knows neither program, `lcre` and `creator` do not know each other, and none of them knows a script."""
    for path in PACKAGES[package]:
        known = {name.split(".")[0] for name in imports_of(path)}
        assert known <= {package, *below}, path.name


def test_scripts_import_no_script_but_the_trainer():
    for name in SCRIPTS:
        others = imports_of(ROOT / f"{name}.py") & SCRIPTS
        assert others <= {"lcre_classifier"} - {name}, name
    assert not imports_of(ROOT / "CREaTor.py") & {module for module in MODULES if module.split(".")[0] == "lcre"}


def test_no_module_imports_itself_through_others():
    paths = {path.stem: path for path in ROOT.glob("*.py")}
    paths |= {f"{name}.{path.stem}": path for name, found in PACKAGES.items() for path in found}
    arrows = {name: imports_of(path) for name, path in paths.items()}

    def reach(name: str, behind: tuple[str, ...]) -> None:
        assert name not in behind, " -> ".join([*behind, name])
        for other in arrows.get(name, ()):
            reach(other, (*behind, name))

    for name in arrows:
        reach(name, ())


def test_tests_are_named_alike_in_any_second():
    """Where gzip's time stands in a parameter, two workers that start in different seconds find different tests."""
    found = [path.name for path in (ROOT / "tests").glob("*.py") if "gzip.compress(" in path.read_text()]
    assert sorted(found) == ["builders.py", "test_house.py"]


def test_help_names_every_constant():
    import lcre_classifier
    from core.cli import flag_of, read_constants
    from lcre.settings import RULES

    constants = {name: text for name, (_, text) in read_constants(ROOT / "lcre_classifier.py").items() if name in RULES}
    assert list(constants) == list(RULES)
    assert list(constants) == [
        *("DATASET", "ORGANISM", "FASTA", "GTF", "TPM", "TARGET_COLUMN", "VALIDATION_GENES", "PICKLE_KEY"),
        *("UPSTREAM", "DOWNSTREAM", "PADDING", "LOW_PERCENTILE", "HIGH_PERCENTILE"),
        *("HOLD_OUT", "FAMILIES", "FOLDS", "SPECIES", "CHROMOSOMES", "SELECT_ON"),
        *("CONTROL", "SHIFT", "MODEL", "EPOCHS", "BATCH_SIZE", "LEARNING_RATE", "SEED", "SAVED_MODELS"),
        *("JOBS", "SCHEDULER"),
    ]
    assert all(len(help_text) > 15 for help_text in constants.values())
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_classifier.py", "--help"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    for flag in [*map(flag_of, constants), *lcre_classifier.ACTIONS, "--version"]:
        assert f"  {flag} " in done.stdout or f"  {flag}\n" in done.stdout, flag
