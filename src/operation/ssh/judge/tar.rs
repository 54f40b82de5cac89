//! `tar` and `unzip`: listing, packing and unpacking.

use super::row::{Parsed, Row, Word};
use super::special::refuse_lists;
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
    if parsed.values("--mtime").any(|time| time.starts_with(['/', '.'])) {
        job.raise(Risk::Admin, "takes the time of a file");
    }
    // Other kinds of tar take those for archives.
    refuse_lists(job, &parsed);
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
            job.raise(Risk::Admin, "unpacks whatever the archive has, hidden files too");
        }
        [false, false, true] => {
            archives.iter().filter(|word| word.known() != Some("-")).for_each(|word| job.overwrites(word));
            for word in &parsed.operands {
                // Whether `-C` came first is not known.
                job.reads_below(word);
                match word.known() {
                    Some(text) if into != "." && !text.starts_with('/') => job.reads_below(&Word::Known(format!("{into}/{text}"))),
                    None if into != "." => job.raise(Risk::Admin, "the pattern is not one of that directory"),
                    _ => {}
                }
            }
        }
        _ => job.raise(Risk::Admin, "neither lists, packs nor unpacks"),
    }
}

/// `unzip`: it reads flags in a way of its own (a second `-` takes a flag back, after `--` too), so that only a few forms are known.
pub(super) fn unzip(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    let (mut lists, mut into, mut words) = (false, None, words);
    if let Some((Word::Known(flag), rest)) = words.split_first()
        && flag.starts_with('-')
    {
        lists = matches!(flag.as_str(), "-l" | "-v" | "-t" | "-p" | "-z" | "-ql" | "-lq" | "-qt" | "-tq");
        if !lists && !matches!(flag.as_str(), "-o" | "-n" | "-q" | "-qo" | "-oq" | "-qn" | "-nq" | "-d") {
            return job.refuse("does not know the flags", flag);
        }
        if flag != "-d" {
            words = rest;
        }
    }
    // `-d directory` comes first or last.
    let at_end = words.len().saturating_sub(2);
    if let [Word::Known(flag), dir, rest @ ..] = words
        && flag == "-d"
    {
        (into, words) = (Some(dir), rest);
    } else if let Some([Word::Known(flag), dir]) = words.get(at_end..)
        && flag == "-d"
    {
        (into, words) = (Some(dir), words.get(..at_end).unwrap_or_default());
    }
    let odd = |word: &Word| word.known().is_none_or(|text| text.is_empty() || text.starts_with('-'));
    let Some(archive) = words.first() else {
        return job.raise(Risk::Admin, "names no archive");
    };
    if words.iter().any(odd) || into.is_some_and(odd) || (lists && into.is_some()) {
        return job.raise(Risk::Admin, "is not one of its plain forms");
    }
    job.reads(archive);
    if !lists {
        job.overwrites(into.unwrap_or(&Word::Known(".".to_owned())));
        job.raise(Risk::Admin, "unpacks whatever the archive has, hidden files too");
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
    // In some of them the last one holds.
    let modes = ["-d", "--decompress", "--uncompress", "-z", "--compress", "-l", "--list", "-t", "--test"];
    if parsed.given.iter().filter(|(flag, _)| modes.contains(flag)).count() > 1 {
        job.raise(Risk::Admin, "more than one of packing, unpacking, listing and testing");
    }
    let prints = parsed.has_any("-c --stdout --to-stdout -l --list -t --test");
    let below = parsed.has_any("-r --recursive");
    for word in &parsed.operands {
        if below {
            job.reads_below(word);
        } else {
            job.reads(word);
        }
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
