//! `fuzz::frames` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::frames::TARGET.begin(), |bytes: &[u8]| {
    fuzz::frames::TARGET.check(bytes);
});
