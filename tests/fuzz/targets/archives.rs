//! `fuzz::archives` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::archives::TARGET.begin(), |bytes: &[u8]| {
    fuzz::archives::TARGET.check(bytes);
});
