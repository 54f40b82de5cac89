//! No stage can be skipped: each wants the proof of the one before it.
use countersign::audit::{Audit, Entry};
use countersign::call::{Call, Line, Origin, Request};
use countersign::connector::Connectors;
use countersign::mask::{Masks, Unmasked};

async fn act_without_a_permit(connectors: &Connectors, call: Call) {
    connectors.execute(call).await;
}

async fn open_without_a_ruling(audit: &Audit, call: Call) {
    let _ = audit.open(call).await;
}

async fn answer_without_masks(audit: &Audit, entry: Entry, unmasked: Unmasked) {
    let _ = audit.close(entry, unmasked).await;
}

fn ask_in_nobodys_name(origin: Origin, line: Line) {
    let _ = Request::new((), "db_query".to_owned(), Default::default(), origin, line);
}

fn look_inside(masks: &Masks, unmasked: Unmasked) {
    let _ = unmasked.pieces;
    let _ = masks;
}

fn main() {}
