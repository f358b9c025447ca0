//! What the fuzzing begins from, and what it once found, taken by each target without libFuzzer.

use fuzz::Target;
use std::path::Path;

/// Runs the seeds, of which a third must be good, or the fuzzing begins with little more than nothing; and what was found.
fn replay(target: &Target) {
    let seeds = target.seeds();
    let good = seeds.iter().filter(|seed| target.check(seed)).count();
    assert!(good * 3 >= seeds.len(), "only {good} of {} seeds are good", seeds.len());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(target.name);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let bytes = std::fs::read(entry.path()).expect("a checkout can be read");
        target.check(&bytes);
    }
}

#[test]
fn objects() {
    replay(&fuzz::objects::TARGET);
}

#[test]
fn patches() {
    replay(&fuzz::patches::TARGET);
}

#[test]
fn requests() {
    replay(&fuzz::requests::TARGET);
}

#[test]
fn tokens() {
    replay(&fuzz::tokens::TARGET);
}

#[test]
fn protobuf() {
    replay(&fuzz::protobuf::TARGET);
}

#[test]
fn words() {
    replay(&fuzz::words::TARGET);
}

#[test]
fn frames() {
    replay(&fuzz::frames::TARGET);
}

#[test]
fn configs() {
    replay(&fuzz::configs::TARGET);
}

#[test]
fn archives() {
    replay(&fuzz::archives::TARGET);
}

#[test]
fn layers() {
    replay(&fuzz::layers::TARGET);
}

#[test]
fn certificates() {
    replay(&fuzz::certificates::TARGET);
}
