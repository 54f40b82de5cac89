//! No proof can be doubled or made from nothing.
use countersign::approval::Approval;
use countersign::audit::{Entry, Permit, Reply};
use countersign::credential::Credential;
use countersign::identity::{Delegation, Person};
use countersign::mask::{Masked, Unmasked};
use countersign::policy::{Authorized, Pending};

fn cloned<T: Clone>() {}
fn defaulted<T: Default>() {}
fn printed<T: std::fmt::Debug>() {}

fn main() {
    cloned::<Delegation>();
    cloned::<Person>();
    cloned::<Authorized>();
    cloned::<Pending>();
    cloned::<Approval>();
    cloned::<Permit>();
    cloned::<Entry>();
    cloned::<Credential>();
    cloned::<Unmasked>();
    cloned::<Masked>();
    cloned::<Reply>();
    defaulted::<Delegation>();
    defaulted::<Permit>();
    defaulted::<Reply>();
    printed::<Unmasked>();
}
