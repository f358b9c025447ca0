//! `fuzz::patches` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::patches::TARGET.begin(), |bytes: &[u8]| {
    fuzz::patches::TARGET.check(bytes);
});
