//! `fuzz::protobuf` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::protobuf::TARGET.begin(), |bytes: &[u8]| {
    fuzz::protobuf::TARGET.check(bytes);
});
