#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skiff_image_fuzz::run("containers", bytes));
