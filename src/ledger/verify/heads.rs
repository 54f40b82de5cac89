//! Signed checkpoints against the leaves as they come by: each is compared when exactly its leaves are there, so a log is read once however many
//! checkpoints there are. What disagrees is narrowed down by what agrees.

use crate::ledger::note::{Checkpoint, VerifierKey};
use crate::ledger::tree::{Frontier, Hash};
use crate::ledger::verify::{Problem, problem};

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// Remembered beside the log.
    Remembered,
    /// Given by whoever verifies.
    Previous,
    /// The log's own head.
    Head,
}

impl From {
    const fn root_code(self) -> &'static str {
        match self {
            Self::Remembered => "checkpoint.root",
            Self::Previous => "previous.root",
            Self::Head => "head.root",
        }
    }
}

/// A signed claim about the first `size` leaves.
#[derive(Debug, Clone, Copy)]
struct Claim {
    size: u64,
    root: Hash,
    from: From,
}

/// All checkpoints, by size, and how far they have been compared.
#[derive(Debug, Default)]
pub(super) struct Heads {
    claims: Vec<Claim>,
    compared: usize,
    /// The largest prefix that a signed checkpoint agrees with.
    good: u64,
    wrong: Vec<Claim>,
    previous: Option<u64>,
}

/// The size that a note claims, signed or not.
fn claimed(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}

impl Heads {
    /// Takes the log's head, the remembered checkpoints with the sizes under which they are kept, and an earlier one. Problems of the notes
    /// themselves carry the size that they claim.
    pub(super) fn new(
        key: &VerifierKey,
        head: Option<&str>,
        remembered: &[(Option<u64>, String)],
        previous: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut heads = Self::default();
        let mut claim = |from, Checkpoint { size, root, .. }: Checkpoint| heads.claims.push(Claim { size, root, from });
        if let Some(note) = head {
            match key.open(note) {
                Some(signed) => claim(From::Head, signed),
                None => problem(problems, claimed(note), "head.signature", "the head is not signed by the key"),
            }
        }
        for (size, note) in remembered {
            let size = size.or_else(|| claimed(note));
            match key.open(note) {
                Some(signed) if size == Some(signed.size) => claim(From::Remembered, signed),
                Some(signed) => {
                    let message = format!("the checkpoint of {} leaves is kept as one of another size", signed.size);
                    problem(problems, size, "checkpoint.size", message);
                }
                None => problem(problems, size, "checkpoint.signature", "a remembered checkpoint is not signed by the key"),
            }
        }
        if let Some(note) = previous {
            match key.open(note) {
                Some(signed) => claim(From::Previous, signed),
                None => problem(problems, claimed(note), "previous.signature", "the previous checkpoint is not signed by the key"),
            }
        }
        heads.claims.sort_by_key(|claim| claim.size);
        heads
    }

    /// Compares every checkpoint of exactly the leaves so far.
    pub(super) fn compare(&mut self, frontier: &Frontier) {
        while let Some(claim) = self.claims.get(self.compared).filter(|claim| claim.size == frontier.size()) {
            if claim.root == frontier.root() {
                self.good = claim.size;
                if claim.from == From::Previous {
                    self.previous = Some(claim.size);
                }
            } else if self.wrong.iter().all(|wrong| wrong.from != claim.from) {
                // Once one disagrees, every later one does.
                self.wrong.push(*claim);
            }
            self.compared += 1;
        }
    }

    /// The leaves below this index are as they were signed.
    pub(super) const fn good(&self) -> u64 {
        self.good
    }

    /// The size of the earlier checkpoint, if it is a prefix.
    pub(super) const fn previous(&self) -> Option<u64> {
        self.previous
    }

    /// What disagrees, once all leaves have come by.
    pub(super) fn judge(&self, frontier: &Frontier, problems: &mut Vec<Problem>) {
        let size = frontier.size();
        // Of several, the one of the fewest leaves says most about where.
        let narrowest = self.wrong.iter().map(|claim| claim.size).min().unwrap_or(size);
        let first = problems.iter().filter_map(|problem| problem.index).filter(|index| (self.good..narrowest).contains(index)).min();
        for claim in &self.wrong {
            let message = format!(
                "the signed checkpoint of {} leaves has another root: one of the leaves {} to {} is not the one that was signed",
                claim.size,
                self.good,
                narrowest.saturating_sub(1)
            );
            problem(problems, Some(first.unwrap_or(self.good)), claim.from.root_code(), message);
        }
        for claim in self.claims.iter().filter(|claim| claim.size > size) {
            let (code, what) = match claim.from {
                From::Head => ("head.size", "the signed head"),
                From::Remembered | From::Previous => ("log.truncated", "a signed checkpoint"),
            };
            let message = format!("{what} is of {} leaves, and {size} are there: the tail from {size} on is gone", claim.size);
            if problems.iter().all(|known| known.code != code) {
                problem(problems, Some(size), code, message);
            }
        }
        match self.claims.iter().find(|claim| claim.from == From::Head) {
            Some(head) if head.size < size => {
                let message = format!("the signed head is of {} leaves, and {size} are there", head.size);
                problem(problems, Some(head.size), "leaf.unsigned", message);
            }
            None if size > 0 && problems.iter().all(|problem| problem.code != "head.signature") => {
                problem(problems, None, "head.missing", "there are leaves but no signed head");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::ledger::tree::leaf_hash;

    struct Log {
        pair: Ed25519KeyPair,
        key: VerifierKey,
    }

    impl Log {
        fn new() -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
            let key = VerifierKey::new("test.invalid/log".to_owned(), pair.public_key().as_ref().try_into().unwrap());
            Self { pair, key }
        }

        fn note(&self, frontier: &Frontier) -> String {
            let checkpoint = Checkpoint { origin: "test.invalid/log".to_owned(), size: frontier.size(), root: frontier.root() };
            format!("{}\n{}", checkpoint.text(), self.key.line(self.pair.sign(checkpoint.text().as_bytes()).as_ref()))
        }
    }

    /// Signs a checkpoint after each leaf of one log, and compares them with another in which leaf `changed` differs.
    fn compared(size: u64, changed: Option<u64>) -> (Heads, Vec<Problem>) {
        let (log, mut signed, mut notes) = (Log::new(), Frontier::empty(), Vec::new());
        for index in 0..size {
            signed.push(leaf_hash(&index.to_be_bytes()));
            notes.push((Some(signed.size()), log.note(&signed)));
        }
        let (mut problems, mut found) = (Vec::new(), Frontier::empty());
        let mut heads = Heads::new(&log.key, notes.last().map(|(_, note)| note.as_str()), &notes, Some(&notes[1].1), &mut problems);
        heads.compare(&found);
        for index in 0..size {
            found.push(leaf_hash(&if changed == Some(index) { u64::MAX } else { index }.to_be_bytes()));
            heads.compare(&found);
        }
        heads.judge(&found, &mut problems);
        (heads, problems)
    }

    #[test]
    fn as_many_checkpoints_as_leaves_are_compared_in_one_pass() {
        // Each root anew from the first leaf would be two hundred million hashes.
        let (heads, problems) = compared(20_000, None);
        assert_eq!((heads.good(), heads.previous()), (20_000, Some(2)));
        assert_eq!(problems, []);
    }

    #[test]
    fn the_first_leaf_that_disagrees_is_named() {
        let (heads, problems) = compared(50, Some(17));
        assert_eq!((heads.good(), heads.previous()), (17, Some(2)));
        let told: Vec<_> = problems.iter().map(|problem| (problem.index, problem.code)).collect();
        assert_eq!(told, [(Some(17), "checkpoint.root"), (Some(17), "head.root")]);
        assert!(problems[0].message.contains("leaves 17 to 17"), "{problems:?}");
        let (_, problems) = compared(50, Some(0));
        assert!(problems.iter().any(|problem| problem.code == "previous.root" && problem.index == Some(0)), "{problems:?}");
    }
}
