#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_properties::check("command_events", bytes));
