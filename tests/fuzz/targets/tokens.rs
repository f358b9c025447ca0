//! `fuzz::tokens` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::tokens::TARGET.begin(), |bytes: &[u8]| {
    fuzz::tokens::TARGET.check(bytes);
});
