//! The properties of the fuzz targets, on seeded mutations of texts that reach deep: short here, coverage-guided with cargo-fuzz (`fuzz/`).
//!
//! `COUNTERSIGN_FUZZ` says how many inputs a property gets, `COUNTERSIGN_SEED` replays a run.

#[path = "../../fuzz/properties.rs"]
pub mod properties;

use crate::harness::{next, setting};

/// Pieces that parsers trip over.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "\\",
    "(",
    ")",
    "--",
    "/*",
    "*/",
    ";",
    "\0",
    "\u{200b}",
    "\u{ff11}",
    "$1",
    "$$",
    "?9",
    "@",
    ".",
    "\n",
    "{",
    "]",
    "::",
    " UNION ",
    " NULL ",
    "=",
    "99999999999999999999",
];

fn below(state: &mut u64, limit: usize) -> usize {
    usize::try_from(next(state)).unwrap() % limit.max(1)
}

fn mutate(state: &mut u64, seeds: &[&str]) -> Vec<u8> {
    let mut bytes = seeds[below(state, seeds.len())].as_bytes().to_vec();
    for _ in 0..=below(state, 6) {
        let at = below(state, bytes.len() + 1);
        let end = (at + below(state, 12)).min(bytes.len());
        match below(state, 6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << below(state, 8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copied = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copied));
            }
            3 => {
                let other = seeds[below(state, seeds.len())].as_bytes();
                drop(bytes.splice(at..end, other[below(state, other.len())..].iter().copied()));
            }
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, PIECES[below(state, PIECES.len())].bytes())),
        }
    }
    bytes
}

#[test]
fn properties_hold_on_mutations() {
    let count = setting("COUNTERSIGN_FUZZ", || 300);
    let seed = setting("COUNTERSIGN_SEED", || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("COUNTERSIGN_SEED={seed} COUNTERSIGN_FUZZ={count}");
    let mut state = seed;
    for (name, property, seeds) in properties::ALL {
        for seed in seeds {
            property(seed.as_bytes());
        }
        for _ in 0..count {
            property(&mutate(&mut state, seeds));
        }
        println!("| fuzz | {name} | {seed} | {count} |");
    }
}
