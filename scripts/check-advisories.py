#!/usr/bin/env python3
"""Compares Cargo.lock with the advisories in scripts/advisories.toml, which says how it is kept.

It fails for a crate in an affected version without a judgement, and for a judgement of what is not there any more.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def number(version):
    """The parts of a version that are compared; a pre-release counts as its release."""
    return tuple(int(part) for part in version.split("+")[0].split("-")[0].split("."))


def is_affected(version, advisory):
    since, patched = advisory.get("since"), advisory.get("patched")
    begun = since is None or number(version) >= number(since)
    return begun and (patched is None or number(version) < number(patched))


def complaints(packages, advisories):
    """What is wrong, one sentence for each."""
    for advisory in advisories:
        name, judged = advisory["crate"], advisory.get("judged", "").strip()
        versions = [package["version"] for package in packages if package["name"] == name]
        affected = [version for version in versions if is_affected(version, advisory)]
        if affected and not judged:
            remedy = f"update it to {advisory['patched']}" if "patched" in advisory else "replace it"
            yield f"{name} {', '.join(affected)}: {advisory['id']}; {remedy}, or judge it in scripts/advisories.toml"
        if judged and not affected:
            yield f"{name}: {advisory['id']} is judged, and no such version is in Cargo.lock; take the judgement out"


def self_test():
    """A check that cannot fail is none."""
    old, new = [{"name": "a", "version": "1.2.3"}], [{"name": "a", "version": "1.10.0+x"}]
    fault = {"crate": "a", "id": "X", "patched": "1.10.0"}
    assert list(complaints(old, [fault])) and not list(complaints(new, [fault]))
    assert not list(complaints(old, [{**fault, "since": "1.2.4"}]))
    assert not list(complaints(old, [{**fault, "judged": "harmless"}]))
    assert list(complaints(new, [{**fault, "judged": "harmless"}]))


def main():
    self_test()
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    advisories = tomllib.loads((ROOT / "scripts/advisories.toml").read_text(encoding="utf-8"))["advisory"]
    found = list(complaints(packages, advisories))
    for complaint in found:
        print(complaint, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
