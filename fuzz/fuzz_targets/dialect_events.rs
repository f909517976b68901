#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_properties::check("dialect_events", bytes));
