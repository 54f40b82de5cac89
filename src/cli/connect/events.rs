//! Server-sent events, as far as MCP has them: the data of each event, in the order they come, each bounded.

use memchr::memchr;

/// An event was larger than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Takes bytes as they come, gives events as they end.
#[derive(Debug)]
pub(super) struct Events {
    max: usize,
    /// The line that has not ended.
    line: Vec<u8>,
    /// The lines of `data` of the event that has not ended.
    data: Option<Vec<u8>>,
}

impl Events {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, line: Vec::new(), data: None }
    }

    /// The data of every event that ends in this piece.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut ended = Vec::new();
        while let Some(end) = memchr(b'\n', piece) {
            let (head, rest) = piece.split_at(end);
            self.line.extend_from_slice(head);
            piece = rest.get(1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            ended.extend(self.take(line.strip_suffix(b"\r").unwrap_or(&line)));
            self.bounded()?;
        }
        self.line.extend_from_slice(piece);
        self.bounded()?;
        Ok(ended)
    }

    fn bounded(&self) -> Result<(), TooLarge> {
        if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > self.max { Err(TooLarge) } else { Ok(()) }
    }

    /// One line; an empty one ends the event. Comments and fields other than `data` say nothing to MCP.
    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            return self.data.take().filter(|data| !data.is_empty());
        }
        let value = line.strip_prefix(b"data:")?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str, step: usize, max: usize) -> Result<Vec<String>, TooLarge> {
        let mut events = Events::new(max);
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(step.max(1)) {
            found.extend(events.feed(piece)?.into_iter().map(|data| String::from_utf8(data).unwrap()));
        }
        Ok(found)
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text =
            ": wait\n\nevent: message\ndata: {\"a\":1}\n\nid: 1\r\ndata:two\r\ndata: lines\r\n\r\nretry: 3\n\ndata:\n\ndata: unfinished\n";
        for step in 1..text.len() {
            assert_eq!(all(text, step, 64).unwrap(), ["{\"a\":1}", "two\nlines"], "{step}");
        }
    }

    #[test]
    fn an_event_is_bounded() {
        assert_eq!(all("data: 123456789\n\n", 4, 8), Err(TooLarge));
        assert_eq!(all("data: 1234\ndata: 1234\n\n", 64, 8), Err(TooLarge));
        assert!(all("data: 1\n\ndata: 2\n\ndata: 3\n\n", 64, 8).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\n\r]{0,200}", step in 1_usize..9) {
            drop(all(&text, step, 64));
        }
    }
}
