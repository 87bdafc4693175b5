"""The shape of the code, as DESIGN §11 and the style page give it, held by reading the code.

Rules: source is parsed, not matched as text, so an import inside a function counts
like any other. What only shows when a tool runs (what a hot verb loads) is asked of
a process of its own.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "coord"
TOOLS = ("ev", "wk", "msg", "lease", "run")
ALL_TOOLS = tuple(dict.fromkeys((*TOOLS, "lease", "msg", "run")))
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_VARIABLES = 8

FOLDERS = {"bin", "src", "schemas", "tests", "contrib", "man"}
FILES = {"pyproject.toml", "README.md", "LICENSE"}

# What each floor may import of the package; a floor is the first part of a module's path.
FLOORS = {
    "__init__": (),
    "errors": (),
    "core": ("errors", "core"),
    "edge": ("errors", "core", "edge"),
    "cli": ("errors", "core", "edge", "cli"),
}
# One door per library: the beginnings of the paths that may import it.
DOORS = {
    "click": ("cli/",),
    "orjson": ("edge/journal", "edge/index", "cli/kit"),
    "sqlite3": ("edge/index",),
    "git": ("edge/git",),
    # Settings are YAML because people write them; front matter, because other tools do.
    "yaml": ("edge/config", "edge/frontmatter"),
    "jsonschema": ("edge/schemas",),
    "referencing": ("edge/schemas",),
    "rich": ("cli/tables",),
    "watchfiles": ("edge/watch",),
    "ulid": (),
    # Not in every Python's standard library.
    "_sha256": ("core/digest",),
}
# The environment is read through one module; git's children inherit it whole.
ENVIRONMENT = "edge/environment.py"
ENVIRONMENT_READERS = (ENVIRONMENT, "edge/git.py")
# What a pure module has no use for: disk, clock, chance, environment, processes.
IMPURE = frozenset(
    "asyncio fcntl glob io locale logging multiprocessing os pathlib random secrets select shutil"
    " signal socket sqlite3 subprocess sys tempfile threading time uuid".split()
)
IMPURE_CALLS = frozenset({"open", "print", "input", "now", "utcnow", "today"})
CLOCKS = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter",
                    "perf_counter_ns", "process_time", "now", "utcnow"})  # fmt: skip

LOADED_OUTSIDE = {"click", "orjson"}
NOT_AT_START = frozenset(
    "asyncio concurrent email http logging multiprocessing random socket ssl subprocess tempfile"
    " unittest urllib xml".split()
)
START_UP = """
import json, os, sys
# A tool ends without coming back, and we still want to ask what it has loaded.
os._exit = sys.exit
before = set(sys.modules)
from coord.cli.{tool} import main
sys.argv = {argv}
try:
    main()
except SystemExit as end:
    status = end.code
loaded = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})
print(json.dumps({{"status": status, "loaded": loaded}}), file=sys.stderr)
"""
HOT = [
    ("wk", "ready"), ("wk", "list"), ("wk", "show", "{id}"), ("wk", "create", "another"),
    ("wk", "update", "{id}", "--priority", "1"), ("wk", "comment", "{id}", "hello"),
    ("wk", "claim", "{id}"), ("wk", "claim", "--next"), ("wk", "close", "{id}", "--as", "done"),
    ("wk", "board", "--format", "text"),
    ("ev", "emit", "demo.happened", "--ref", "work_id={id}", "--body", '{{"n":1}}'),
    ("ev", "list"), ("ev", "tail"),
    ("lease", "check", "path:a"), ("lease", "acquire", "path:a"), ("lease", "guard", "a"),
    ("lease", "list"), ("msg", "send", "--to", "agent:ada", "--body", "hello"), ("msg", "inbox"),
    ("run", "request", "--", "true"), ("run", "list"),
]  # fmt: skip


def files_in(*folders: str) -> list[Path]:
    """Every Python file of these top-level folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path) -> str:
    """The file's path inside the package, or inside the project for other files."""
    return str(path.relative_to(SOURCE if path.is_relative_to(SOURCE) else ROOT))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that the file imports anywhere, absolute, with the line."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(path)}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def inside(path: Path) -> Iterator[tuple[list[str], int]]:
    """The package's own modules that the file imports, as parts after `coord`."""
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] == "coord" and len(parts) > 1 and parts[1] != "__version__":
            yield parts[1:], line


def outside(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level names of all other modules that the file imports."""
    for name, line in imports(path):
        if not name.startswith("coord"):
            yield name.partition(".")[0], line


def tool_of(parts: list[str]) -> str:
    """The tool that a module below core/ or cli/ belongs to, or ""."""
    word = parts[1].removesuffix(".py").partition("_")[0] if len(parts) > 1 else ""
    return word if word in ALL_TOOLS else ""


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of the file, however deep."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def called(node: ast.AST) -> str:
    """The last name of what is called: `time.monotonic()` gives `monotonic`."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return getattr(function, "attr", "") or getattr(function, "id", "")


def test_a_module_imports_only_its_own_floor_and_those_below():
    wrong = [
        f"{place(path)}:{line}: {'.'.join(parts)}"
        for path in files_in("src")
        for parts, line in inside(path)
        if parts[0] not in FLOORS[place(path).partition("/")[0].removesuffix(".py")]
    ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("floor", ["core", "cli"])
def test_a_tool_never_imports_another_tool(floor: str):
    """Neither in the core, where they meet in the journals, nor on the command line."""
    wrong = [
        f"{place(path)}:{line}: {'.'.join(parts)}"
        for path in (SOURCE / floor).rglob("*.py")
        for parts, line in inside(path)
        if tool_of(list(path.relative_to(SOURCE).parts)) and parts[0] == floor
        if tool_of(parts) not in ("", tool_of(list(path.relative_to(SOURCE).parts)))
    ]

    assert not wrong, "\n".join(wrong)


def test_every_library_enters_through_its_door():
    """The standard library is free, but for sqlite3."""
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in files_in("src")
        for name, line in outside(path)
        if name in DOORS or name not in sys.stdlib_module_names
        if not place(path).startswith(DOORS.get(name, ()))
    ]

    assert not wrong, "\n".join(wrong)


def test_the_core_has_no_disk_clock_chance_or_environment():
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in (SOURCE / "core").rglob("*.py")
        for name, line in outside(path)
        if name in IMPURE
    ]
    wrong += [
        f"{place(path)}:{node.lineno}: {called(node)}()"
        for path in (SOURCE / "core").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and called(node) in IMPURE_CALLS
    ]

    assert not wrong, "\n".join(wrong)


def test_contrib_talks_to_the_tools_through_their_command_line():
    wrong = [place(path) for path in files_in("bin", "contrib") if any(inside(path))]

    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_500_lines():
    lengths = {
        place(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in files_in("bin", "src", "contrib", "tests")
    }

    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_70_lines():
    wrong = [
        f"{place(path)}:{node.lineno}: {node.name}"
        for path in files_in("src", "contrib", "tests")
        for node in functions(path)
        if node.end_lineno and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]

    assert not wrong, "\n".join(wrong)


def test_a_function_inside_a_function_is_a_decorators_wrapper():
    """It says what it wraps; or is returned, and calls what was given or decorates with it."""
    everything = files_in("src", "contrib", "tests")
    decorators = {name for path in everything for name in decorating(path)}
    wrong = [
        f"{place(path)}:{inner.lineno}: {inner.name} in {outer.name}"
        for path in everything
        for outer in functions(path)
        for inner in nested_in(outer)
        if "wraps" not in [called(used) for used in inner.decorator_list]
        if not (returns(outer, inner.name) and decorates(outer, inner, decorators))
    ]

    assert not wrong, "\n".join(wrong)


def decorating(path: Path) -> Iterator[str]:
    """The names that stand behind an @ in the file."""
    for node in ast.walk(parsed(path)):
        for used in getattr(node, "decorator_list", ()):
            yield called(used) or getattr(used, "attr", "") or getattr(used, "id", "")


def nested_in(outer: ast.AST) -> Iterator[ast.FunctionDef]:
    """The functions whose nearest function around is `outer`."""
    for node in ast.iter_child_nodes(outer):
        if isinstance(node, ast.FunctionDef):
            yield node
        else:
            yield from nested_in(node)


def returns(outer: ast.AST, name: str) -> bool:
    """Whether a `return NAME` occurs in the function."""
    return any(
        isinstance(node, ast.Return) and getattr(node.value, "id", "") == name
        for node in ast.walk(outer)
    )


def decorates(
    outer: ast.FunctionDef | ast.AsyncFunctionDef, inner: ast.FunctionDef, used: set[str]
) -> bool:
    """Whether `inner` calls a parameter of `outer`, or `outer` is used behind an @."""
    given = {argument.arg for argument in outer.args.args}
    return outer.name in used or any(called(node) in given for node in ast.walk(inner))


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_has_the_same_parts(tool: str):
    """A part that grew past 500 lines is a folder of the same name."""
    parts = {
        "launcher": [f"bin/{tool}"],
        "core": [f"src/coord/core/{tool}.py", f"src/coord/core/{tool}/__init__.py"],
        "cli": [f"src/coord/cli/{tool}.py", f"src/coord/cli/{tool}/__init__.py"],
        "schema": [f"schemas/{tool}.json"],
        "manual": [f"man/{tool}.1"],
        "test": [f"tests/core/test_{tool}*"],
        "tour": [f"tests/tours/{tool}.md"],
    }

    missing = [name for name, places in parts.items() if not any([*ROOT.glob(p)] for p in places)]

    assert not missing, ", ".join(missing)


def test_the_top_level_holds_only_what_the_design_names(need: Any):
    """Of what git tracks or would track; dot files are free, `.ci` is the one dot folder."""
    need("git")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("data: this is not a git checkout")
    paths = [name.split("/") for name in done.stdout.split("\0") if name]

    folders = {parts[0] for parts in paths if len(parts) > 1} - FOLDERS - {".ci"}
    files = {parts[0] for parts in paths if len(parts) == 1} - FILES
    assert folders == set()
    assert {name for name in files if not name.startswith(".")} == set()


@pytest.mark.parametrize("words", HOT, ids=lambda words: " ".join(words[:2]))
def test_a_hot_verb_loads_click_orjson_and_sqlite3_alone(words: tuple[str, ...], run: Any):
    """Whatever else it needs is imported inside the function that needs it."""
    run.ok("ev", "init", as_="agent:ada")
    made = run.ok("wk", "create", "something", "--quiet", as_="agent:ada").out.strip()
    argv = [word.format(id=made) for word in words]
    script = START_UP.format(tool=words[0], argv=argv)

    answer = run(sys.executable, "-c", script, as_="agent:ada")

    told = json.loads(answer.err.splitlines()[-1])
    loaded = set(told["loaded"])
    # 1 is an answer too: there is nothing.
    assert told["status"] in (0, 1, None), answer.err
    assert loaded - sys.stdlib_module_names - {"coord"} - LOADED_OUTSIDE == set()
    assert loaded & NOT_AT_START == set()


def test_no_test_asserts_wall_time():
    """A slow machine is no bug; costs are measured by tests/bench and printed."""
    wrong = [
        f"{place(path)}:{node.lineno}"
        for path in files_in("tests")
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Assert) and tells_time(node.test, clocked_names(function))
    ]

    assert not wrong, "\n".join(wrong)


def tells_time(node: ast.AST, names: frozenset[str] | set[str]) -> bool:
    """Whether an expression asks a clock or uses a name that came from one."""
    return any(
        called(part) in CLOCKS or (isinstance(part, ast.Name) and part.id in names)
        for part in ast.walk(node)
    )


def clocked_names(function: ast.AST) -> set[str]:
    """The local names whose values come from a clock, directly or through others."""
    assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    names: set[str] = set()
    while True:
        found = {
            target.id
            for node in assigned
            for target in node.targets
            if isinstance(target, ast.Name) and tells_time(node.value, names)
        }
        if found <= names:
            return names
        names |= found


def test_at_most_eight_variables_all_read_by_one_module():
    named = {path: set(variables(path)) for path in files_in("src")}
    home = named.pop(SOURCE / ENVIRONMENT)

    assert len(home) <= MAX_VARIABLES
    assert {place(path): sorted(names) for path, names in named.items() if names} == {}


def variables(path: Path) -> Iterator[str]:
    """The texts in a file that are the name of one of our variables and nothing else."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.removeprefix("$")
            if name.startswith("COORD_") and name.isidentifier():
                yield name


def test_the_environment_is_read_in_one_place():
    wrong = [
        f"{place(path)}:{node.lineno}"
        for path in files_in("src")
        if place(path) not in ENVIRONMENT_READERS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv")
    ]

    assert not wrong, "\n".join(wrong)
