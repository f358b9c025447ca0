//! `fuzz::requests` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::requests::TARGET.begin(), |bytes: &[u8]| {
    fuzz::requests::TARGET.check(bytes);
});
