//! `fuzz::certificates` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::certificates::TARGET.begin(), |bytes: &[u8]| {
    fuzz::certificates::TARGET.check(bytes);
});
