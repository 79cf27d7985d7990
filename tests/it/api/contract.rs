//! The pages `docs/contract-….md` say which tests hold which line of each contract. Here they are held to the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A page, and how the ids of its own lines begin. Decisions (`d…`) may stand on several.
const PAGES: [(&str, &str); 5] = [
    ("docs/contract-000.md", "S000-"),
    ("docs/contract-001.md", "S001-"),
    ("docs/contract-002.md", "S002-"),
    ("docs/contract-003.md", "S003-"),
    ("docs/contract-004.md", "S004-"),
];

/// Where tests stand, and the checks that are no program's.
const ROOMS: [&str; 9] = [
    "tests/it",
    "api/src",
    "shared",
    "worker/src",
    "scheduler/src",
    "recado/src",
    "recado/tests",
    "sandbox/src",
    "scripts",
];

/// This file speaks of ids without holding any.
const NO_TESTS: &str = "contract.rs";

/// The test of each id, by id.
type Proofs = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_contract_names_the_tests_that_hold_it() {
    let proofs = proofs();
    for (page, prefix) in PAGES {
        hold(page, prefix, &proofs);
    }
}

fn hold(page: &str, prefix: &str, proofs: &Proofs) {
    let file = workspace().join(page);
    let written = std::fs::read_to_string(&file).expect("the page is there");
    let right = rewrite(&written, proofs);
    if wants_update() {
        std::fs::write(&file, &right).expect("the page can be written");
    } else {
        assert!(written == right, "{page} is out of date: UPDATE_DOCS=1 make test ARGS=\"-E 'test(contract)'\"");
    }
    let listed: BTreeSet<&str> = written.lines().filter_map(id_of_row).collect();
    let unknown: Vec<_> = proofs.keys().filter(|id| id.starts_with(prefix) && !listed.contains(id.as_str())).collect();
    assert!(unknown.is_empty(), "tests name lines that {page} does not have: {unknown:?}");
    assert!(
        right.contains("\n<!-- open: written by the test -->\nNone.\n"),
        "lines that no test holds stand under \"Open\" of {page}"
    );
}

#[expect(clippy::disallowed_methods, reason = "a switch of this test, and no setting of the product")]
fn wants_update() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page with the last column and the list of open lines as they should be.
fn rewrite(page: &str, proofs: &Proofs) -> String {
    let mut open = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut is_inside_open = false;
    for line in page.lines() {
        if line == "<!-- /open -->" {
            lines.push(if open.is_empty() { "None.".to_owned() } else { open.join(", ") });
            is_inside_open = false;
        }
        match id_of_row(line) {
            Some(id) => {
                let tests = proofs.get(id).map(|tests| tests.iter().map(|test| format!("`{test}`")));
                let tests = tests.map_or(String::new(), |tests| tests.collect::<Vec<_>>().join(", "));
                if tests.is_empty() {
                    open.push(id.to_owned());
                }
                let promise = line.split(" | ").nth(1).expect("a row has a promise");
                lines.push(format!("| {id} | {promise} | {tests} |"));
            }
            None if !is_inside_open => lines.push(line.to_owned()),
            None => {}
        }
        is_inside_open |= line.starts_with("<!-- open");
    }
    lines.join("\n") + "\n"
}

/// `S002-41` of `| S002-41 | … |`.
fn id_of_row(line: &str) -> Option<&str> {
    let (id, _) = line.strip_prefix("| ")?.split_once(" | ")?;
    (!ids(id).is_empty()).then_some(id)
}

fn proofs() -> Proofs {
    let mut proofs = Proofs::new();
    for room in ROOMS {
        for file in files(&workspace().join(room)) {
            let code = std::fs::read_to_string(&file).expect("code is text");
            let file = file.strip_prefix(workspace()).expect("it is in the workspace").display().to_string();
            for (test, comment) in tests(&code, room == "tests/it") {
                let story = file.strip_prefix("tests/it/").and_then(|name| name.strip_suffix(".rs"));
                let place = story.map_or_else(|| file.clone(), |story| story.replace('/', "::"));
                let name = format!("{place}::{test}");
                for id in ids(&comment) {
                    proofs.entry(id).or_default().insert(name.clone());
                }
            }
        }
    }
    proofs
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let is_code = path.extension().is_some_and(|extension| extension == "rs" || extension == "sh");
        if path.is_dir() {
            found.extend(files(&path));
        } else if is_code && !path.ends_with(NO_TESTS) {
            found.push(path);
        }
    }
    found
}

/// The tests of a file, each with the comment above it. A test is a story, or a function with `#[test]` or `#[tokio::test]`;
/// among the stories also a function that takes the pair on which it is told. In a script every function counts.
fn tests(code: &str, are_stories: bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut comment, mut is_test) = (String::new(), false);
    let mut lines = code.lines().map(str::trim);
    while let Some(line) = lines.next() {
        // The name of a long story stands on a line of its own.
        let line = if line == "story!(" { line.to_owned() + lines.next().unwrap_or_default() } else { line.to_owned() };
        if let Some(text) = line.strip_prefix("//").or(line.strip_prefix("# ")) {
            comment += text;
            comment.push(' ');
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]");
        } else {
            let story = line.strip_prefix("story!(");
            let is_told = are_stories && line.contains("(pair: Pair");
            let function = line.split_once("fn ").map(|(_, rest)| rest).filter(|_| is_test || is_told);
            let of_script = line.strip_suffix("() {").filter(|name| !name.contains(' '));
            if let Some(rest) = story.or(function).or(of_script) {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                found.push((name.to_owned(), std::mem::take(&mut comment)));
            }
            comment.clear();
            is_test = false;
        }
    }
    found
}

/// `S001-7`, `S002-41`, `S002-P1` and `d12`; `S002-25 to S002-27` is three.
fn ids(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",;:.()`".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let Some((kind, number)) = id(word) else { continue };
        let end = match words.get(place + 1..place + 3) {
            Some(["to", last]) => id(last).filter(|(other, _)| *other == kind).map_or(number, |(_, last)| last),
            _ => number,
        };
        found.extend((number..=end).map(|number| format!("{kind}{number}")));
    }
    found
}

/// `("S002-", 41)`
fn id(word: &str) -> Option<(&str, u32)> {
    let kind =
        ["S000-", "S001-", "S002-P", "S002-", "S003-", "S004-", "d"].into_iter().find(|kind| word.starts_with(kind))?;
    Some((kind, word[kind.len()..].parse().ok()?))
}

#[test]
fn ids_are_read_from_comments_on_the_contract() {
    let comment = "S001-7, S002-41 and S002-62: d16 to the end; S002-25 to S002-27, S002-P1 to S002-P3, d, S002-x, dd3";
    let expected = "S001-7 S002-41 S002-62 d16 S002-25 S002-26 S002-27 S002-27 S002-P1 S002-P2 S002-P3 S002-P3";
    assert_eq!(ids(comment).join(" "), expected);
}

#[test]
fn tests_of_the_contract_are_told_from_other_functions() {
    let code = "
        // S002-1
        story!(a_story, async |app: &App| {
        // S002-2: a helper.
        async fn helper() {
        /// S002-3,
        /// and S002-4.
        #[tokio::test]
        async fn a_test() {
        // S002-5
        async fn told(pair: Pair) {
        // S001-7
        story!(
            a_long_story,
        # S002-6
        check() {
    ";
    let found = tests(code, true);
    let found: Vec<_> = found.iter().map(|(name, comment)| format!("{name} {}", ids(comment).join(" "))).collect();
    assert_eq!(found, ["a_story S002-1", "a_test S002-3 S002-4", "told S002-5", "a_long_story S001-7", "check S002-6"]);
}
