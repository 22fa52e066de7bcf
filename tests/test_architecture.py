"""The rules of docs/architecture.md: imports go down only, one place for threads, one for scikit-learn, short files."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "tsrnn"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_FUNCTION = 400, 60

# part of the package → parts that it may import; itself is always allowed
BESIDE = {"data", "datasets", "metrics", "plotting", "progress"}
MAY_IMPORT = {
    "backends": set(),
    "initializers": set(), "losses": {"backends"}, "optimizers": {"backends"},
    "layers": {"backends", "initializers"},
    "network": {"backends", "layers", "losses", "initializers"},
    "parallel": set(), "progress": set(), "_warn": set(),
    "device": {"backends", "_warn"},
    "engine": {"backends", "network", "parallel"},
    "predictor": {"network", "engine", "parallel"},
    "training": {"backends", "network", "losses", "optimizers", "engine", "parallel", "predictor", "progress"},
    "data": {"backends", "_warn"},
    "datasets": {"progress", "_warn"}, "metrics": {"data"}, "plotting": set(),
    "estimators": BESIDE | {"_warn", "backends", "initializers", "losses", "optimizers", "layers", "network", "parallel",
                            "device", "engine", "predictor", "training"},
}
# modules of the surface, which may import everything: the package's lazy names, command line and its helpers
SURFACE = {"__init__", "__main__", "cli", "_classify", "_forecast", "_info", "_read_csv", "_report", "_warmup"}
ONLY_IN = {
    "sklearn": {"estimators", "datasets", "_info"}, "yfinance": {"datasets", "_info"}, "matplotlib": {"plotting"},
    "typer": {"cli"}, "rich": {"cli", "progress", "_report", "_info", "_warmup"},
    "threading": {"parallel"}, "concurrent": {"parallel"}, "multiprocessing": {"parallel"}, "_thread": {"parallel"},
    "asyncio": set(), "joblib": {"parallel"},
    "numba": {"backends", "_info", "_warmup"}, "llvmlite": {"backends", "_info"},
}
NEVER = {"torch", "tensorflow", "keras", "jax", "dask", "distributed", "onnx", "onnxruntime"}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports anywhere, in functions too: full dotted names."""
    here = ("tsrnn", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[:-node.level]) + "." if node.level else ""
            module = (base + (node.module or "")).strip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_parts(path):
    """Parts of the package that a file imports."""
    for name in imports(path):
        names = name.split(".")
        if names[0] == "tsrnn":
            yield names[1] if len(names) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    part = part_of(path)
    if part in SURFACE:
        return
    assert part in MAY_IMPORT, f"{part} has no place in the house; give it one here and in docs/architecture.md"
    wrong = set(own_parts(path)) - MAY_IMPORT[part] - {part}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_places(path):
    part, found = part_of(path), {name.split(".")[0] for name in imports(path)}
    assert not found & NEVER
    wrong = {name for name in found if part not in ONLY_IN.get(name, {part})}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_numpy_backend_runs_without_numba():
    for path in (PACKAGE / "backends" / "numpy").rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(("numba", "llvmlite", "tsrnn.backends.cpu")), f"{path.name} imports {name}"
    for name in ("contract", "solvers", "__init__"):
        assert not any(n.startswith(("numba", "tsrnn.backends.cpu")) for n in imports(PACKAGE / "backends" / f"{name}.py"))


def test_no_import_in_a_circle():
    order = []

    def visit(part, path):
        assert part not in path, " → ".join((*path, part))
        for other in sorted(MAY_IMPORT[part]):
            visit(other, (*path, part))
        order.append(part)
    for part in MAY_IMPORT:
        visit(part, ())
    assert set(order) == set(MAY_IMPORT)


def test_kernels_use_one_decorator():
    for path in (PACKAGE / "backends").rglob("*.py"):
        if path.name != "jit.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"@(numba\.)?(njit|vectorize|guvectorize|generated_jit)\b", text), path
            assert "prange" not in text and "fastmath=True" not in text, path


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "tests").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py")),
                                  *sorted((ROOT / "examples").glob("*.py"))], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= MAX_LINES or path.parent.name == "tests", f"{path.name} has {len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1 - docstring_lines(node)
            assert length <= MAX_FUNCTION, f"{path.name}: {node.name} has {length} lines without its docstring"


def docstring_lines(node):
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return first.end_lineno - first.lineno + 1 if is_text else 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_public_things_are_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    if part_of(path) == "backends":
        return  # operations are described once, in the contract's comments
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_no_place_of_one_machine_in_the_text():
    pattern = re.compile(r"(/(?:root|home/\w+|work|tmp)/|https?://(?!github\.com|docs|[\w.]*org|[\w.]*com|ai\.stanford\.edu))")
    for path in FILES:
        found = pattern.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)} has {found.group()}"


def test_every_floor_is_described():
    text = Path(ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [part for part in MAY_IMPORT if part not in text]
    assert not missing
