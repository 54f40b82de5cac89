//! Fuzz target: `properties::signature`.
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target uses one")]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::signature(bytes));
