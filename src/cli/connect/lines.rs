//! Standard input and output as lines: one message each, bounded, on threads of their own.
//!
//! Threads and not tasks, because a read from a terminal or a pipe cannot be given up: a task that sits in one would keep the process from ending.

use std::io::{BufRead, Write};

use tokio::sync::{mpsc, oneshot};

/// The longest line, in bytes: what the broker takes at most.
pub(super) const LINE_MAX_BYTES: usize = crate::server::BODY_MAX;
/// Lines that may wait on either side.
const WAITING_MAX: usize = 64;

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was longer than the limit, and was passed over.
    TooLong,
}

/// The lines of standard input, until it ends.
pub(super) fn input() -> mpsc::Receiver<Line> {
    let (to, lines) = mpsc::channel(WAITING_MAX);
    drop(std::thread::spawn(move || {
        let mut from = std::io::stdin().lock();
        while let Ok(Some(line)) = next(&mut from, LINE_MAX_BYTES) {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    }));
    lines
}

/// Standard output, and when it is done: once every sender is gone and all is written, or as soon as nobody reads it.
pub(super) fn output() -> (mpsc::Sender<Vec<u8>>, oneshot::Receiver<()>) {
    let (lines, mut from) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
    let (done, ended) = oneshot::channel();
    drop(std::thread::spawn(move || {
        let mut to = std::io::stdout().lock();
        while let Some(mut line) = from.blocking_recv() {
            line.push(b'\n');
            if to.write_all(&line).and_then(|()| to.flush()).is_err() {
                break;
            }
        }
        drop(from);
        let _told = done.send(());
    }));
    (lines, ended)
}

/// The next line that is not empty.
fn next(from: &mut impl BufRead, max: usize) -> std::io::Result<Option<Line>> {
    loop {
        let (mut line, mut too_long, mut ended) = (Vec::new(), false, false);
        while !ended {
            let buffer = from.fill_buf()?;
            if buffer.is_empty() {
                if line.is_empty() && !too_long {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.unwrap_or(buffer.len());
            too_long |= line.len() + taken > max;
            if too_long {
                line.clear();
            } else {
                line.extend(buffer.iter().take(taken));
            }
            ended = end.is_some();
            from.consume(taken + usize::from(ended));
        }
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Line::Whole(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_bounded_and_whole() {
        for capacity in [1, 3, 64] {
            let mut from = BufReader::with_capacity(capacity, &b"{}\r\n\n  \n12345678\n123456789\n{\"a\":1}"[..]);
            let mut all = Vec::new();
            while let Some(line) = next(&mut from, 8).unwrap() {
                all.push(line);
            }
            let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
            assert_eq!(all, [whole("{}"), whole("12345678"), Line::TooLong, whole("{\"a\":1}")], "{capacity}");
        }
    }
}
