//! Sizes of files and functions, one `//!` a file, `unsafe` in `linux` only, nothing left open.

use crate::{assert_none, workspace};
use std::path::{Path, PathBuf};

/// Lines of implementation in a file (style.md 3).
const FILE_LIMIT: usize = 500;
/// Lines of a function (style.md 3).
const FUNCTION_LIMIT: usize = 80;

/// Excused: file, function or `*`, reason.
const EXCUSED: &[(&str, &str, &str)] = &[];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The lines before the file's own tests.
    fn implementation(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&workspace(), &mut found);
    assert!(
        found.len() > 20,
        "the tidy check sees only {} files: it looks in the wrong place",
        found.len()
    );
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|cause| panic!("read {}: {cause}", folder.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            collect(&path, found);
        } else if name.ends_with(".rs") {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("read {}: {cause}", path.display()));
            let path = path.strip_prefix(workspace()).unwrap_or(&path).to_owned();
            found.push(Source { path, text });
        }
    }
}

fn is_excused(path: &Path, function: &str) -> bool {
    EXCUSED
        .iter()
        .any(|(file, name, _)| path == Path::new(file) && (*name == function || *name == "*"))
}

#[test]
fn files_are_one_idea_long() {
    let length = |source: &Source| source.implementation().count();
    let all = sources();
    let long = all
        .iter()
        .filter(|source| length(source) > FILE_LIMIT && !is_excused(&source.path, "*"));
    let findings: Vec<_> = long
        .map(|source| format!("{}: {} lines", source.path.display(), length(source)))
        .collect();
    assert_none("files over 500 lines of implementation", &findings);
}

#[test]
fn functions_fit_a_screen() {
    let mut findings = Vec::new();
    for source in sources() {
        for (name, lines) in functions(&source) {
            if lines > FUNCTION_LIMIT && !is_excused(&source.path, &name) {
                findings.push(format!("{}: fn {name}: {lines} lines", source.path.display()));
            }
        }
    }
    assert_none("functions over 80 lines", &findings);
}

/// Functions with their lengths: rustfmt closes a function's brace in the column where its line began.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let lines: Vec<&str> = source.implementation().map(|(_, line)| line).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closes = |line: &&str| line.len() == indent + 1 && line.trim_start() == "}";
        if let Some(length) = lines[at..].iter().position(closes) {
            found.push((name, length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    for word in [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
    (!one_line).then(|| {
        name.chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    })
}

#[test]
fn every_file_says_what_it_is() {
    let all = sources();
    let silent = all.iter().filter(|source| !source.text.starts_with("//! "));
    let findings: Vec<_> = silent.map(|source| source.path.display().to_string()).collect();
    assert_none("files that do not begin with //!", &findings);
}

#[test]
fn unsafe_is_in_linux_only_and_says_why() {
    let mut findings = Vec::new();
    for source in sources() {
        let is_linux = source.path.starts_with("linux");
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|word| code.contains(word))
                || code.contains('"')
            {
                continue;
            }
            let reasoned = lines[at.saturating_sub(6)..=at]
                .iter()
                .any(|line| line.contains("SAFETY:"));
            if !is_linux || !reasoned {
                findings.push(format!("{}:{}", source.path.display(), at + 1));
            }
        }
    }
    assert_none("unsafe outside linux, or without its SAFETY reason", &findings);
}

#[test]
fn nothing_is_left_open() {
    let open = [
        ["todo", "!("],
        ["unimplemented", "!("],
        ["FIX", "ME"],
        ["#[ign", "ore"],
        ["XX", "X"],
    ]
    .map(|words| words.concat());
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            if open.iter().any(|word| line.contains(word)) {
                findings.push(format!("{}:{}: {}", source.path.display(), at + 1, line.trim()));
            }
        }
    }
    assert_none("left open in code", &findings);
}

#[test]
fn rooms_and_files_have_names_that_say_something() {
    let empty = [
        "utils.rs",
        "util.rs",
        "helpers.rs",
        "helper.rs",
        "common.rs",
        "types.rs",
        "misc.rs",
    ];
    let all = sources();
    let vague = all
        .iter()
        .filter(|source| empty.iter().any(|name| source.path.ends_with(name)));
    let findings: Vec<_> = vague.map(|source| source.path.display().to_string()).collect();
    assert_none("files named for nothing", &findings);
}
