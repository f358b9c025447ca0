//! `fuzz::objects` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::objects::TARGET.begin(), |bytes: &[u8]| {
    fuzz::objects::TARGET.check(bytes);
});
