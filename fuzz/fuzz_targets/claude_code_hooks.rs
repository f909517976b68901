#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_properties::check("claude_code_hooks", bytes));
