//! The one integration binary: a real broker on real sockets, real databases behind it, and the people and agents who use it.

#![expect(unreachable_pub, reason = "the harness is a module of the one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::allow_attributes,
    reason = "tests fail by panicking"
)]

mod agent;
mod approval;
mod approval_model;
mod attacks_doors;
mod attacks_identity;
mod attacks_kube;
mod attacks_kube_writes;
mod attacks_objects;
mod attacks_outbound;
mod attacks_ssh;
mod bounds;
mod browser;
mod channels;
mod channels_by_kind;
mod clients;
mod codes;
mod commands;
mod conformance;
mod connect;
mod data;
mod decisions_in;
mod doors;
mod elicitation;
mod fuzz;
mod gates;
mod grants;
mod grants_on_clusters;
mod grants_on_hosts;
mod guides;
mod harness;
mod identity_in_postgres;
mod kill;
mod kube;
mod kube_changes;
mod kubectl;
mod login;
mod many_pending;
mod masking;
mod masking_kube;
mod masking_mysql;
mod masking_postgres;
mod masking_ssh;
mod mysql;
mod mysql_logins;
mod page;
mod page_attacks;
mod path;
mod policy_matrix;
mod policy_matrix_kube;
mod policy_matrix_ssh;
mod possession;
mod postgres;
mod provider;
mod quickstart;
mod readme;
mod registry;
mod secrets;
mod settings;
mod ssh;
mod ssh_hosts;
mod ssh_named;
mod ssh_policy;
mod ssh_programs;
mod ssh_shells;
mod ssh_survival;
mod ssh_units;
mod ssh_work;
mod survival;
mod tidy;
mod tls;
mod token_service;
mod transport;
mod ui;
mod watch;
