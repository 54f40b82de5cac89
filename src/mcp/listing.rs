//! How a tool is listed to a client of the protocol.

use rmcp::model::{Tool, ToolAnnotations};

use crate::catalog::Listing;

/// A tool with all four hints: the default of `destructiveHint` is true, so silence would say the wrong thing.
pub(super) fn tool(listing: Listing) -> Tool {
    let [read_only, destructive, idempotent, open_world] = listing.annotations;
    let annotations = ToolAnnotations::with_title(listing.title.clone())
        .read_only(read_only)
        .destructive(destructive)
        .idempotent(idempotent)
        .open_world(open_world);
    Tool::new(listing.name, listing.description, listing.input_schema)
        .with_title(listing.title)
        .with_raw_output_schema(listing.output_schema)
        .with_annotations(annotations)
}
