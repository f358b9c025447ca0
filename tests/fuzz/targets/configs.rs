//! `fuzz::configs` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::configs::TARGET.begin(), |bytes: &[u8]| {
    fuzz::configs::TARGET.check(bytes);
});
