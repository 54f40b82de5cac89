//! `tar` and `unzip`: listing, packing and unpacking.

use super::row::{Parsed, Row, Word};
use super::state::Job;
use crate::operation::Risk;

/// Judges `tar`; the first word may be flags without their dash.
pub(super) fn judge(job: &mut Job<'_>, row: &'static Row, words: &[Word]) {
    let mut words = words.to_vec();
    if let Some(Word::Known(first)) = words.first_mut()
        && !first.starts_with('-')
    {
        // Values of such flags follow in their order; with one value, and its flag the last, that is what getopt does.
        if first.chars().rev().skip(1).any(|c| matches!(c, 'f' | 'C' | 'T' | 'X' | 'b' | 'I' | 'K' | 'N' | 'V' | 'g' | 'F' | 'L')) {
            job.refuse("flags that are not read:", first);
        }
        first.insert(0, '-');
    }
    let parsed = row.parse(job, &words);
    let archives: Vec<Word> = parsed.values("-f --file").map(|text| Word::Known(text.to_owned())).collect();
    if archives.iter().any(|word| word.known().is_some_and(|text| text.contains(':'))) {
        job.raise(Risk::Admin, "the archive may be on another host");
    }
    if archives.len() != 1 {
        job.raise(Risk::Admin, "which archive it is of is not known");
    }
    if parsed.values("-C --directory").count() > 1 {
        job.raise(Risk::Admin, "goes from one directory to another");
    }
    let into = parsed.values("-C --directory").last().unwrap_or(".").to_owned();
    let modes = ["-t --list", "-x --extract --get", "-c --create"].map(|mode| parsed.has_any(mode));
    match modes {
        [true, false, false] => archives.iter().for_each(|word| job.reads(word)),
        [false, true, false] => {
            archives.iter().for_each(|word| job.reads(word));
            if parsed.has_any("-O --to-stdout") {
                return;
            }
            job.overwrites(&Word::Known(into));
        }
        [false, false, true] => {
            archives.iter().filter(|word| word.known() != Some("-")).for_each(|word| job.overwrites(word));
            for word in &parsed.operands {
                // Whether `-C` came first is not known.
                job.reads(word);
                match word.known() {
                    Some(text) if into != "." && !text.starts_with('/') => job.reads(&Word::Known(format!("{into}/{text}"))),
                    None if into != "." => job.raise(Risk::Admin, "the pattern is not one of that directory"),
                    _ => {}
                }
            }
        }
        _ => job.raise(Risk::Admin, "neither lists, packs nor unpacks"),
    }
}

/// `unzip`: it unpacks unless told to list, test or print.
pub(super) fn unzip(job: &mut Job<'_>, parsed: &Parsed) {
    if let Some(archive) = parsed.operands.first() {
        job.reads(archive);
    }
    if !parsed.has_any("-l -v -t -p -z") {
        if parsed.values("-C --directory").count() > 1 {
            job.raise(Risk::Admin, "goes from one directory to another");
        }
        let into = parsed.values("-d").last().unwrap_or(".").to_owned();
        job.overwrites(&Word::Known(into));
    }
}

/// `gzip` and the like put another file in the place of one, unless told to print.
pub(super) fn squeeze(job: &mut Job<'_>, parsed: &Parsed) {
    let name = job.name().to_owned();
    let unpacks = name.contains("un") || parsed.has_any("-d --decompress --uncompress");
    let suffix = match name.as_str() {
        "bzip2" => ".bz2",
        "xz" => ".xz",
        _ => ".gz",
    };
    let prints = parsed.has_any("-c --stdout --to-stdout -l --list -t --test");
    for word in &parsed.operands {
        job.reads(word);
        if !prints {
            job.deletes(word);
            match word.known() {
                Some(text) if unpacks => job.overwrites(&Word::Known(text.rsplit_once('.').map_or(text, |(stem, _)| stem).to_owned())),
                Some(text) => job.overwrites(&Word::Known(format!("{text}{suffix}"))),
                None => {}
            }
        }
    }
}
