//! No proof can be written down.
use countersign::approval::Approval;
use countersign::audit::{Entry, Permit, Reply};
use countersign::identity::{Delegation, Person};
use countersign::mask::{Masked, Unmasked};
use countersign::policy::Authorized;

fn main() {
    let _ = Delegation {};
    let _ = Person {};
    let _ = Authorized {};
    let _ = Approval {};
    let _ = Permit {};
    let _ = Entry {};
    let _ = Unmasked {};
    let _ = Masked {};
    let _ = Reply {};
}
