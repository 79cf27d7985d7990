#!/usr/bin/env python3
"""Holds the documents to the tree: every path in them exists, ARCHITECTURE's code map names every module, and docs/indexes.md every index.

What counts as a path: a link; a word in `backticks` that begins with a folder of ours or ends as our files do; a word in a
code block that begins with a folder of ours. `queue/src/jobs.rs` may stand for `shared/queue/src/jobs.rs`, and what follows a
path (`run.rs: Runner::run`) must occur in that file. In the code map, `{a,b}.rs` is two files.
"""

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MAP = "ARCHITECTURE.md"
INDEXES = "docs/indexes.md"
# Whose modules the map names. Tests and what stands in for providers have one line each.
IN_MAP = ["shared", "console", "api", "worker", "scheduler", "recado"]
# Named by the folder that they are in, or no part of the product.
NOT_IN_MAP = ["lib.rs", "main.rs", "mod.rs", "tests.rs"]

ENDINGS = r"(?:rs|py|sh|sql|toml|ya?ml|md|html|lock)"


def main():
    tree = Tree()
    errors = [error for document in tree.documents() for error in wrong_paths(tree, document)]
    errors += wrong_map(tree)
    errors += unnamed_indexes()
    for error in errors:
        print(error, file=sys.stderr)
    if errors:
        sys.exit(1)
    print(f"{len(tree.documents())} documents name paths that exist; the code map names every module, and every index is explained.")


class Tree:
    """The files that are committed or will be."""

    def __init__(self):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.files = sorted({name for name in listed.splitlines() if (ROOT / name).exists()})
        self.folders = {parent.as_posix() for name in self.files for parent in Path(name).parents}
        self.rooms = {folder for folder in self.folders if "/" not in folder} - {"."}

    def documents(self):
        return [name for name in self.files if name.endswith(".md")]

    def has(self, path):
        return path.rstrip("/") in self.folders if path.endswith("/") else path in self.files or path in self.folders

    def meant_by(self, path):
        """The files for which this path may stand, which may leave out the first folders."""
        return [name for name in self.files if f"/{name}".endswith(f"/{path}")]


# --- Paths ---


def wrong_paths(tree, document):
    text = (ROOT / document).read_text(encoding="utf-8")
    prose = re.sub(r"^( *)```.*?^\1```", lambda block: "\n" * block[0].count("\n"), text, flags=re.S | re.M)
    for line, found in places(prose, r"\]\((?!\w+:|#)([^)#\s]+)"):
        if not (ROOT / document).parent.joinpath(found[1]).resolve().exists():
            yield f"{document}:{line}: no such file: {found[1]}"
    for line, found in places(prose, r"`([^`]+)`"):
        if not tells_the_truth(tree, found[1]):
            yield f"{document}:{line}: no such path, or nothing of that name in it: {found[1]}"
    for block in re.finditer(r"^( *)```.*?^\1```", text, re.S | re.M):
        if document != MAP:
            rooms = "|".join(re.escape(room) for room in tree.rooms)
            for line, found in places(block[0], rf"(?<![\w/.$-])(?:{rooms})/[\w./-]*\w"):
                if not tree.has(found[0]):
                    yield f"{document}:{text.count(chr(10), 0, block.start()) + line}: no such path: {found[0]}"


def places(text, pattern):
    return [(text.count("\n", 0, found.start()) + 1, found) for found in re.finditer(pattern, text)]


A_PATH = re.compile(rf"([\w.<>…-]+(?:/[\w.<>…-]+)*/?)(?:(?:::|: )(\w+)(?:::(\w+))?)?")


def tells_the_truth(tree, span):
    found = A_PATH.fullmatch(span)
    if not found or not is_path(tree, found[1]):
        return True
    path, name = found[1], found[3] or found[2]
    if any(sign in path for sign in "<…"):
        known = re.split("[<…]", path)[0].rpartition("/")[0]
        return not known or tree.has(known)
    if tree.has(path):
        files = [path]
    else:
        files = [] if path.split("/")[0] in tree.rooms else tree.meant_by(path)
    return any(name is None or occurs(name, file) for file in files)


def is_path(tree, path):
    if path.startswith(("target/", "RECADO_HOME/")):
        return False
    return path.split("/")[0] in tree.rooms and "/" in path or re.search(rf"[\w>]\.{ENDINGS}$", path) is not None


def occurs(name, file):
    path = ROOT / file
    return path.is_file() and re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) is not None


# --- The code map ---


def wrong_map(tree):
    named, errors = set(), []
    for line, paths in map_entries((ROOT / MAP).read_text(encoding="utf-8")):
        for candidates in paths:
            path = next((path for path in candidates if tree.has(path)), None)
            if path is None:
                errors.append(f"{MAP}:{line}: no such path in the code map: {candidates[0]}")
            else:
                named.add(path)
    modules = [name for name in tree.files if re.match(rf"(?:{'|'.join(IN_MAP)})/(?:.*/)?src/.*\.rs$", name)]
    modules = [name for name in modules if Path(name).name not in NOT_IN_MAP and "/bin/" not in name]
    missing = [name for name in modules if name not in named]
    return errors + [f"{MAP}: the code map does not name {name}" for name in missing]


def map_entries(text):
    """Each line of the map with its paths; each path in the folders in which it may be meant, the innermost first."""
    heading = text.index("## Code map")
    start = text.index("```text\n", heading) + len("```text\n")
    around = []
    for number, line in enumerate(text[start : text.index("```", start)].splitlines()):
        indent = len(line) - len(line.lstrip())
        words = list(takewhile(looks_like_path, line.split()))
        if not words:
            continue
        around = [(depth, folder) for depth, folder in around if depth < indent]
        folders = [folder for _, folder in reversed(around)] + [""]
        paths = [[folder + path for folder in folders] for word in words for path in braces(word)]
        yield text.count("\n", 0, start) + 1 + number, paths
        around += [(indent, folder + word) for word in words if word.endswith("/") for folder in reversed(folders)]


def looks_like_path(word):
    return word.endswith("/") or re.search(rf"\.{ENDINGS}$", word) is not None or word == "Makefile"


def braces(word):
    """`a/{b,c}.rs` is a/b.rs and a/c.rs."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
    return [found[1] + name + found[3] for name in found[2].split(",")] if found else [word]


# --- Indexes ---


def unnamed_indexes():
    """Unique ones whose name ends in _key are there for their promise, and may be left out."""
    explained = (ROOT / INDEXES).read_text(encoding="utf-8")
    for file in sorted((ROOT / "migrations").glob("*.sql")):
        for name in re.findall(r"\bcreate (?:unique )?index (\w+)", file.read_text(encoding="utf-8")):
            if not name.endswith("_key") and f"`{name}`" not in explained:
                yield f"{INDEXES}: no word about {name} of {file.name}"


if __name__ == "__main__":
    main()
