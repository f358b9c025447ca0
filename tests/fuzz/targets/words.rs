//! `fuzz::words` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::words::TARGET.begin(), |bytes: &[u8]| {
    fuzz::words::TARGET.check(bytes);
});
