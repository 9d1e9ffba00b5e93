"""Measures which faults the tests find: changes one place of `gan_cli/` at a time and runs the tests that reach it.

    python benchmarks/mutants.py draw --count 300 --seed 16   # writes benchmarks/mutants.json
    python benchmarks/mutants.py move                         # finds rewritten lines again, after a change of the code
    python benchmarks/mutants.py probe COPY OUT               # which tests reach which mutant: runs all tests once
    python benchmarks/mutants.py run COPY OUT                 # applies the mutants and runs those tests
    python benchmarks/mutants.py run COPY OUT --again         # tries the survivors with more tests
    python benchmarks/mutants.py summary OUT [OUT]            # the share killed, and each survivor

COPY is a checkout that may be overwritten, with its own `.venv`. OUT is a folder for results.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIST = HERE / "mutants.json"
ROOMS = ("objectives", "training", "storage", "evaluation", "config")
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SIGNS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
TESTS_PER_MUTANT, SECONDS_PER_MUTANT = 40, 30
LEAST_SIMILARITY = 0.7


@dataclass(frozen=True)
class Mutant:
    """One change of the source: the text `before` at `column` of a line becomes `after`.

    `line_text` and `occurrence` (which of the equal lines of the function) find the place again after code has moved.
    """

    kind: str
    path: str
    function: str
    line_text: str
    occurrence: int
    column: int
    before: str
    after: str


# --- drawing ---------------------------------------------------------------------------------------------------------


def draw(count: int, seed: int) -> list[Mutant]:
    """Returns mutants drawn at random, equally many of each kind."""
    candidates = defaultdict(list)
    for room in ROOMS:
        for path in sorted((HERE.parent / "gan_cli" / room).rglob("*.py")):
            for mutant in list_mutants(path):
                candidates[mutant.kind].append(mutant)
    rng = random.Random(seed)
    share = count // len(candidates)
    return [mutant for kind in sorted(candidates) for mutant in rng.sample(candidates[kind], share)]


def list_mutants(path: Path) -> Iterator[Mutant]:
    """Yields each possible mutant of the functions of a file whose change stays within one line."""
    source = path.read_text()
    lines = source.splitlines()
    for function, qualified in functions(ast.parse(source)):
        seen: set[tuple[int, int, str]] = set()
        for kind, node, after in changes(function):
            if node.lineno != node.end_lineno or (node.lineno, node.col_offset, kind) in seen:
                continue
            seen.add((node.lineno, node.col_offset, kind))
            text = lines[node.lineno - 1]
            before = text.encode()[node.col_offset : node.end_col_offset].decode()
            if not is_whole(before, node) or not compiles(lines, node, after):
                continue
            equal = [n for n in range(function.lineno, node.lineno) if lines[n - 1].strip() == text.strip()]
            indent = len(text) - len(text.lstrip())
            column = len(text.encode()[: node.col_offset].decode()) - indent
            relative = str(path.relative_to(HERE.parent))
            yield Mutant(kind, relative, qualified, text.strip(), len(equal), column, before, after)


def is_whole(text: str, node: ast.AST) -> bool:
    """Returns whether a text is the source of a node. Inside f-strings some Pythons report other positions."""
    try:
        return ast.unparse(ast.parse(text)) == ast.unparse(node)
    except SyntaxError:
        return False


def compiles(lines: list[str], node: ast.AST, after: str) -> bool:
    """Returns whether a file is still valid Python after a change, and another program."""
    text = lines[node.lineno - 1].encode()
    changed = (text[: node.col_offset] + after.encode() + text[node.end_col_offset :]).decode()
    old, new = (
        "\n".join([*lines[: node.lineno - 1], line, *lines[node.lineno :]]) for line in (text.decode(), changed)
    )
    try:
        return ast.dump(ast.parse(old)) != ast.dump(ast.parse(new))
    except SyntaxError:
        return False


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[ast.FunctionDef, str]]:
    """Yields the functions of a module that are not inside another function, with their dotted names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node, prefix + node.name
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


def changes(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """Yields (kind, node, new text) for each possible change of the body of a function."""
    for statement in function.body:
        for node in ast.walk(statement):
            match node:
                case ast.Compare(ops=[op], left=left, comparators=[right]) if type(op) in COMPARISONS:
                    new = COMPARISONS[type(op)]
                    yield "comparison", node, f"({ast.unparse(left)}) {new} ({ast.unparse(right)})"
                case ast.BinOp(op=op, left=left, right=right) if type(op) in SIGNS and not isinstance(
                    left, ast.Constant | ast.JoinedStr
                ) | isinstance(getattr(left, "value", None), str):
                    yield "sign", node, f"({ast.unparse(left)}) {SIGNS[type(op)]} ({ast.unparse(right)})"
                case ast.UnaryOp(op=ast.USub(), operand=operand):
                    yield "sign", node, ast.unparse(operand)
                case ast.Constant(value=bool() as value):
                    yield "constant", node, str(not value)
                case ast.Constant(value=int() | float() as value):
                    yield "constant", node, repr(value + 1)
                case ast.Call(args=[first, second, *_]) if not isinstance(first, ast.Starred) and not isinstance(
                    second, ast.Starred
                ):
                    swapped = ast.Call(node.func, [second, first, *node.args[2:]], node.keywords)
                    yield "arguments", node, ast.unparse(swapped)
                case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
                    yield "dropped line", node, "pass"
                case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                    yield "dropped line", node, "pass"


# --- finding and applying --------------------------------------------------------------------------------------------


def move() -> None:
    """Writes into the list, for each mutant whose line was rewritten, the most similar mutant of the present code.

    Similar are mutants of the same kind, in a function of the same name or in the same file, whose line and changed
    text are at least 70 % alike. Mutants without such a line are told as gone.
    """
    root = HERE.parent
    everything = [mutant for path in sorted((root / "gan_cli").rglob("*.py")) for mutant in list_mutants(path)]
    moved = {}
    for index, mutant in enumerate(load_list()):
        if locate(mutant, root) is None:
            alike = [each for each in everything if each.kind == mutant.kind and is_related(each, mutant)]
            best = max(alike, key=lambda each: similarity(each, mutant), default=None)
            if best is not None and similarity(best, mutant) >= LEAST_SIMILARITY:
                moved[index] = asdict(best)
    content = json.loads(LIST.read_text())
    LIST.write_text(json.dumps(content | {"moved": moved}, indent=1) + "\n")


def is_related(first: Mutant, second: Mutant) -> bool:
    """Returns whether two mutants are in functions of the same name, or in the same file."""
    return first.path == second.path or first.function.split(".")[-1] == second.function.split(".")[-1]


def similarity(first: Mutant, second: Mutant) -> float:
    """Returns how alike two mutants are, from 0 to 1: the less similar of their lines and of their changes."""
    pairs = (first.line_text, second.line_text), (f"{first.before}{first.after}", f"{second.before}{second.after}")
    return min(difflib.SequenceMatcher(None, *pair, autojunk=False).ratio() for pair in pairs)


def place_of(index: int, mutant: Mutant, root: Path) -> tuple[Mutant, Path, int] | None:
    """Returns a mutant as the present code has it, with its file and line; None if its line no longer exists."""
    for each in (mutant, load_moved().get(index)):
        place = each and locate(each, root)
        if each and place:
            return each, *place
    return None


def locate(mutant: Mutant, root: Path) -> tuple[Path, int] | None:
    """Returns the file and line number of a mutant in a checkout; None if the line no longer exists."""
    here = root / mutant.path
    others = [path for path in sorted((root / "gan_cli").rglob("*.py")) if path != here]
    for path in [here, *others] if here.exists() else others:
        source = path.read_text()
        if mutant.line_text not in source:
            continue
        lines = source.splitlines()
        for function, qualified in functions(ast.parse(source)):
            if qualified.split(".")[-1] != mutant.function.split(".")[-1]:
                continue
            span = range(function.lineno, (function.end_lineno or function.lineno) + 1)
            equal = [n for n in span if lines[n - 1].strip() == mutant.line_text]
            if len(equal) > mutant.occurrence:
                return path, equal[mutant.occurrence]
    return None


def mutate(mutant: Mutant, source: str, line: int) -> str:
    """Returns the source with the mutant applied at a line."""
    lines = source.splitlines(keepends=True)
    text = lines[line - 1]
    start = len(text) - len(text.lstrip()) + mutant.column
    if text[start : start + len(mutant.before)] != mutant.before:
        raise ValueError(f"{mutant}: another text stands at line {line}")
    lines[line - 1] = text[:start] + mutant.after + text[start + len(mutant.before) :]
    return "".join(lines)


# --- which tests reach which mutant ----------------------------------------------------------------------------------


class Probes(ast.NodeTransformer):
    """Inserts a call before each statement that holds a mutant."""

    def __init__(self, lines: dict[int, list[int]]) -> None:
        self.lines = lines

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                setattr(node, name, [each for statement in block for each in (*self.calls(statement), statement)])
        return node

    def calls(self, statement: ast.stmt) -> list[ast.stmt]:
        """Returns the calls to put before a statement. A compound statement counts for its header alone."""
        body = getattr(statement, "body", None)
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return []
        end = body[0].lineno - 1 if body else (statement.end_lineno or statement.lineno)
        found = [
            i for line in range(statement.lineno, max(end, statement.lineno) + 1) for i in self.lines.get(line, [])
        ]
        return [ast.parse(f"__import__('mutant_probe').hit({i})").body[0] for i in found]


PROBE = """
import os
_seen = set()
_folder = {folder!r}
def hit(i):
    key = (i, os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" (", 1)[0])
    if key not in _seen and key[1]:
        _seen.add(key)
        with open(f"{{_folder}}/{{os.getpid()}}.hits", "a") as file:
            file.write(f"{{i}}\\t{{key[1]}}\\n")
"""
DURATIONS = """
import os
def pytest_runtest_logreport(report):
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        with open({path!r}, "a") as file:
            file.write(f"{{report.nodeid}}\\t{{report.duration:.3f}}\\t{{report.when}}\\t{{report.outcome}}\\n")
"""


def probe(copy: Path, out: Path) -> None:
    """Runs all tests of a checkout once, with a probe at each mutant, and writes which tests reach it."""
    shutil.rmtree(out / "hits", ignore_errors=True)
    (out / "hits").mkdir(parents=True)
    (out / "durations.tsv").unlink(missing_ok=True)
    by_file: dict[Path, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, mutant in enumerate(load_list()):
        place = place_of(index, mutant, copy)
        if place is not None:
            by_file[place[1]][place[2]].append(index)
    originals = {path: path.read_text() for path in by_file}
    site = next((copy / ".venv" / "lib").glob("python*/site-packages"))
    (site / "mutant_probe.py").write_text(PROBE.format(folder=str((out / "hits").resolve())))
    (site / "mutant_durations.py").write_text(DURATIONS.format(path=str((out / "durations.tsv").resolve())))
    try:
        for path, lines in by_file.items():
            tree = Probes(lines).visit(ast.parse(originals[path]))
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
        command = [
            str(copy / ".venv/bin/python"),
            "-m",
            "pytest",
            "-q",
            "-p",
            "mutant_durations",
            "-n",
            "2",
            "--dist",
            "worksteal",
        ]
        log = (out / "probe.log").open("w")
        subprocess.run(
            command, cwd=copy, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
        )
    finally:
        for path, source in originals.items():
            path.write_text(source)


def reaching_tests(out: Path) -> dict[int, list[tuple[str, float]]]:
    """Returns for each mutant the tests that reach it, with their seconds, without tests that failed unmutated."""
    seconds: Counter[str] = Counter()
    failed = set()
    for line in (out / "durations.tsv").read_text().splitlines():
        test, duration, _, outcome = line.rsplit("\t", 3)
        seconds[test] += float(duration)
        if outcome == "failed":
            failed.add(test)
    reached: dict[int, set[str]] = defaultdict(set)
    for file in (out / "hits").glob("*.hits"):
        for line in file.read_text().splitlines():
            index, test = line.split("\t", 1)
            reached[int(index)].add(test)
    return {
        index: sorted(((test, seconds[test]) for test in tests if test not in failed), key=lambda pair: pair[1])
        for index, tests in reached.items()
    }


def choose_tests(mutant: Mutant, tests: list[tuple[str, float]], again: bool) -> list[str]:
    """Returns the tests to run for a mutant: those of its module first, then of its room, cheap ones first.

    Only the first cases of parametrized tests are among them, unless `again` is set: then all cases of the module's own
    tests come first, and the limits are three times as high.
    """
    factor = 3 if again else 1
    room = f"tests/{mutant.path.split('/')[1]}/"
    stem = f"test_{Path(mutant.path).stem}.py"
    ranks: Counter[str] = Counter()
    ranked = []
    for test, seconds in tests:  # the n-th case of a parametrized test comes after the first cases of all others
        function = test.split("[")[0]
        ranks[function] += not (again and stem in test)
        ranked.append((ranks[function], stem not in test, not test.startswith(room), seconds, test))
    chosen, total = [], 0.0
    for *_, seconds, test in sorted(ranked):
        if len(chosen) < factor * TESTS_PER_MUTANT and total + seconds <= factor * SECONDS_PER_MUTANT:
            chosen.append(test)
            total += seconds
    return chosen


# --- running ---------------------------------------------------------------------------------------------------------


def run(copy: Path, out: Path, part: str, again: bool) -> None:
    """Applies the mutants one by one, runs the tests that reach each and appends the results to OUT/results.jsonl."""
    worker, workers = map(int, part.split("/"))
    tests = reaching_tests(out)
    results = out / f"results_{worker}.jsonl"
    records = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    survivors = {each["index"] for each in records if each["outcome"] == "survived"}
    done = {each["index"] for each in records if not again or each.get("again") or each["index"] not in survivors}
    sys.path[:0] = [str(copy), str(copy / "tests")]
    os.chdir(copy)
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    for index, mutant in enumerate(load_list()):
        if index % workers != worker or index in done:
            continue
        started, place = time.monotonic(), place_of(index, mutant, copy)
        chosen = choose_tests(place[0] if place else mutant, tests.get(index, []), again)
        if place is None:
            outcome = "gone"
        elif not chosen:
            outcome = "not reached"
        else:
            outcome = run_one(*place, chosen)
        record = {"index": index, "outcome": outcome, "tests": len(chosen), "seconds": time.monotonic() - started}
        record |= {"again": True} if again else {}
        with results.open("a") as file:
            file.write(json.dumps(record) + "\n")


def run_one(mutant: Mutant, path: Path, line: int, tests: list[str]) -> str:
    """Returns `killed` if one of the tests fails with the mutant applied, or does not end; otherwise `survived`."""
    original = path.read_text()
    path.write_text(mutate(mutant, original, line))
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=120", *tests])))
    try:
        deadline = time.monotonic() + 20 * SECONDS_PER_MUTANT
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "killed"
    finally:
        path.write_text(original)


def load_list() -> list[Mutant]:
    """Returns the mutants of benchmarks/mutants.json."""
    return [Mutant(**each) for each in json.loads(LIST.read_text())["mutants"]]


@functools.cache
def load_moved() -> dict[int, Mutant]:
    """Returns the rewritten mutants by index."""
    moved = json.loads(LIST.read_text()).get("moved", {})
    return {int(index): Mutant(**each) for index, each in moved.items()}


def read_results(out: Path) -> dict[int, str]:
    """Returns the outcome of each mutant."""
    lines = [line for file in out.glob("results_*.jsonl") for line in file.read_text().splitlines()]
    return {record["index"]: record["outcome"] for record in map(json.loads, lines)}


def summarize(outs: list[Path]) -> None:
    """Prints how many mutants were killed in each folder of results, per kind, and the survivors."""
    mutants = load_list()
    for out in outs:
        results = read_results(out)
        counts = Counter((mutants[index].kind, outcome) for index, outcome in results.items())
        alive = {index: outcome for index, outcome in results.items() if outcome != "gone"}
        killed = sum(outcome == "killed" for outcome in alive.values())
        print(f"{out}: {killed} of {len(alive)} killed, {len(results) - len(alive)} places no longer exist")
        for kind in sorted({mutant.kind for mutant in mutants}):
            print("  ", kind, {outcome: n for (each, outcome), n in sorted(counts.items()) if each == kind})
    first = read_results(outs[0])
    last = read_results(outs[-1])
    for index in sorted(last):
        if last[index] in ("survived", "not reached"):
            mutant = mutants[index]
            before = f"{last[index]} (first: {first.get(index)})"
            print(index, before, f"{mutant.path}:{mutant.function}", mutant.line_text, sep="	", end="	")
            print(mutant.before, "->", mutant.after)


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("--count", type=int, default=300)
    drawing.add_argument("--seed", type=int, default=16)
    commands.add_parser("move")
    for name in ("probe", "run"):
        command = commands.add_parser(name)
        command.add_argument("copy", type=Path)
        command.add_argument("out", type=Path)
        command.add_argument("--part", default="0/1", help="WORKER/WORKERS, to run in several processes")
        command.add_argument("--again", action="store_true", help="try only the survivors, with more tests")
    commands.add_parser("summary").add_argument("out", type=Path, nargs="+")
    arguments = parser.parse_args()
    match arguments.command:
        case "draw":
            mutants = [asdict(mutant) for mutant in draw(arguments.count, arguments.seed)]
            LIST.write_text(json.dumps({"seed": arguments.seed, "mutants": mutants}, indent=1) + "\n")
        case "move":
            move()
        case "probe":
            probe(arguments.copy.resolve(), arguments.out.resolve())
        case "run":
            run(arguments.copy.resolve(), arguments.out.resolve(), arguments.part, arguments.again)
        case "summary":
            summarize(arguments.out)


if __name__ == "__main__":
    main()
