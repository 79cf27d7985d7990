#!/usr/bin/env python3
"""Holds the crates to their layers, and the modules of a crate to having no circle among them.

A crate uses crates of lower layers only. LAYERS says which are which, by folder; `cargo metadata` says who uses whom.

Modules are files here. A file uses the files whose names its paths lead to (`use crate::…`, `super::…`, a child's name),
through re-exports to where a thing really stands; tests do not count. A module and those below it may use each other: they
are one thing told on several pages. Every other circle is reported.
"""

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# From the ground up. Crates of one line never use each other, so a system knows no other system.
LAYERS = [
    ["shared/kernel"],
    ["shared/queue"],
    # A system that other systems send with.
    ["shared/webhooks"],
    ["shared/notifications", "shared/partners", "shared/crm", "shared/conversations"],
    # The list of all systems.
    ["shared/systems"],
    # Pages, which the API mounts.
    ["console"],
    ["api", "worker", "scheduler"],
    ["recado"],
    ["tests", "bench"],
]

# What a system may know of another all the same, as (user, used), each with its reason.
SIDEWAYS: set[tuple[str, str]] = set()

# Knows nothing of ours and stands in no layer: production links it only where `recado up` plays the providers.
SANDBOX = "sandbox"
USES_SANDBOX = ["recado", "tests", "bench"]


def main():
    packages = metadata()["packages"]
    errors = upward_arrows(packages)
    for package in packages:
        for target in package["targets"]:
            if {"lib", "bin"} & set(target["kind"]):
                errors += circles(Crate(Path(target["src_path"])))
    for error in errors:
        print(error, file=sys.stderr)
    if errors:
        sys.exit(1)
    print(f"{len(packages)} crates keep their layers, and their modules form no circle.")


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


# --- Crates ---


def upward_arrows(packages):
    folders = {package["name"]: folder(Path(package["manifest_path"]).parent) for package in packages}
    errors = [f"{name}: no layer is known for folder {at}" for name, at in folders.items() if layer(at) is None]
    if errors:
        return errors
    for package in packages:
        user = folders[package["name"]]
        for dependency in package["dependencies"]:
            used = folders.get(dependency["name"])
            is_dev = dependency["kind"] == "dev"
            if used is not None and used != user and not may_use(user, used, is_dev):
                errors.append(f"{user}/Cargo.toml: {user} must not depend on {used}")
    return errors


def may_use(user, used, is_dev):
    if used == SANDBOX:
        return is_dev or user in USES_SANDBOX
    return user != SANDBOX and (layer(user) > layer(used) or (user, used) in SIDEWAYS)


def layer(at):
    if at == SANDBOX:
        return -1
    return next((n for n, patterns in enumerate(LAYERS) if any(fnmatch(at, p) for p in patterns)), None)


def folder(path):
    return path.relative_to(ROOT).as_posix()


# --- Modules ---


class Crate:
    """The files of a program or library, by module path: () is its root, ("queue", "redis") is crate::queue::redis."""

    def __init__(self, root):
        self.files = {}
        self.macros = {}
        self._read((), root, root.parent)

    def _read(self, module, path, children_in):
        file = File(module, path)
        self.files[module] = file
        self.macros.update({name: module for name in file.macros})
        for name in file.children:
            for child in (children_in / f"{name}.rs", children_in / name / "mod.rs"):
                if child.exists():
                    self._read((*module, name), child, children_in / name)

    def uses(self, file):
        """The modules that the paths of this file lead to."""
        paths = [path for _, path in file.imports] + file.paths
        found = {self.find(file.module, path) for path in paths}
        return {module for module in found if module is not None and module != file.module}

    def find(self, module, path, seen=frozenset()):
        """Where the thing stands that a module calls by this path; None when that is in another crate."""
        if (module, path) in seen:
            return None
        seen |= {(module, path)}
        at, rest = self._start(module, path)
        if at is None:
            return None
        while rest and (*at, rest[0]) in self.files:
            at, rest = (*at, rest[0]), rest[1:]
        if not rest:
            return at
        if not at and rest[0] in self.macros:
            return self.macros[rest[0]]
        # A thing that was only imported there stands elsewhere.
        for name, imported in self.files[at].imports:
            if name == rest[0]:
                return self.find(at, (*imported, *rest[1:]), seen)
        return at

    def _start(self, module, path):
        if path[0] == "crate":
            return (), path[1:]
        if path[0] == "self":
            return module, path[1:]
        if path[0] == "super":
            ups = next((n for n, word in enumerate(path) if word != "super"), len(path))
            return module[: max(len(module) - ups, 0)], path[ups:]
        return (module, path) if (*module, path[0]) in self.files else (None, path)


# Comments, texts and characters: nothing in them is code. A lifetime has no second quote.
NO_CODE = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | \bb?r(\#*)".*?"\1 | b?"(?:\\.|[^"\\])*" | b?'(?:\\[^']+|\\'|[^\\'\n])'""", re.S | re.X
)
TEST_ONLY = re.compile(r"#\[cfg\(test\)\]")
IMPORT = re.compile(r"\buse\s+([^;]+);")
CHILD = re.compile(r"\bmod\s+(\w+)\s*;")
INLINE_MODULE = re.compile(r"\bmod\s+\w+\s*\{")
MACRO = re.compile(r"#\[macro_export\]\s*macro_rules!\s*(\w+)")


class File:
    def __init__(self, module, path):
        self.module = module
        self.path = folder(path)
        code = without_tests(NO_CODE.sub('""', path.read_text(encoding="utf-8")))
        inline = [(found.end(), end_of_item(code, found.start())) for found in INLINE_MODULE.finditer(code)]

        def from_here(path, position):
            """The path as the file would write it, not a module inside it."""
            depth = sum(start <= position < end for start, end in inline)
            while depth and path[0] == "super":
                path, depth = path[1:] if path[1:2] == ("super",) else ("self", *path[1:]), depth - 1
            return path

        self.children = CHILD.findall(code)
        self.macros = MACRO.findall(code)
        self.imports = [
            (name, from_here(path, found.start()))
            for found in IMPORT.finditer(code)
            for name, path in import_tree(found[1])
        ]
        first = "|".join(["crate", "self", "super", *self.children])
        a_path = re.compile(rf"(?<![\w:.])\$?((?:{first})(?:\s*::\s*\w+)+)")
        code = IMPORT.sub(lambda found: " " * len(found[0]), code)
        self.paths = [
            from_here(tuple(re.split(r"\s*::\s*", found[1])), found.start()) for found in a_path.finditer(code)
        ]


def without_tests(code):
    while found := TEST_ONLY.search(code):
        code = code[: found.start()] + code[end_of_item(code, found.end()) :]
    return code


def end_of_item(code, start):
    """Past the item's `;` or its closing brace. Brackets are counted, since an attribute may hold either."""
    depth = 0
    for position in range(start, len(code)):
        letter = code[position]
        depth += (letter in "{([") - (letter in "})]")
        if depth == 0 and letter in ";}":
            return position + 1
    return len(code)


def import_tree(text):
    """`a::{b, c as d}` is a::b, called b, and a::c, called d."""
    text = text.strip().removeprefix("::")
    if not (brace := re.match(r"([^{]*)\{(.*)\}$", text, re.S)):
        path, _, name = (part.strip() for part in text.partition(" as "))
        words = tuple(re.split(r"\s*::\s*", path.replace("$", "")))
        words = words[:-1] if words[-1] in ("self", "*") and len(words) > 1 else words
        return [(name or (words[-1] if not path.endswith("*") else "*"), words)]
    stem = tuple(word for word in re.split(r"\s*::\s*", brace[1].strip()) if word)
    return [(name if path != ("self",) else stem[-1], (*stem, *path) if path != ("self",) else stem)
            for part in split_at_commas(brace[2]) for name, path in import_tree(part)]


def split_at_commas(text):
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def circles(crate):
    graph = {module: crate.uses(file) for module, file in crate.files.items()}
    for knot in forbidden(graph):
        circle = " → ".join(crate.files[module].path for module in shortest_circle(knot))
        others = f" ({len(knot)} files use each other in circles)" if len(knot) > 2 else ""
        yield f"modules in a circle: {circle}{others}"


def forbidden(graph):
    """The parts of the graph with circles, but for those that only go through a module and what is below it."""
    for knot in knots(graph):
        inside = {module: graph[module] & knot for module in knot}
        above = min(knot, key=len)
        if all(module[: len(above)] == above for module in knot):
            yield from forbidden({m: uses - {above} for m, uses in inside.items() if m != above})
        else:
            yield inside


def knots(graph):
    """The sets of modules each of which leads to all of the others, and back."""
    reached = {module: reach(graph, module) for module in graph}
    sets = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted((knot for knot in sets if len(knot) > 1), key=sorted)


def shortest_circle(graph):
    ways = [[module] for module in sorted(graph)]
    while True:
        if closed := next((way for way in ways if way[0] in graph[way[-1]]), None):
            return [*closed, closed[0]]
        ways = [[*way, module] for way in ways for module in sorted(graph[way[-1]]) if module not in way]


def reach(graph, start):
    found, waiting = set(), [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


if __name__ == "__main__":
    main()
