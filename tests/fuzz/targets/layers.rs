//! `fuzz::layers` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::layers::TARGET.begin(), |bytes: &[u8]| {
    fuzz::layers::TARGET.check(bytes);
});
