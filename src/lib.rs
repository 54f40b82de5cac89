//! Countersign: a broker between AI agents and the systems they work on.
//!
//! # The path of a call
//! An agent's tool call enters by [`mcp`], is bound to the human who delegated it ([`identity`]), becomes a typed operation
//! ([`catalog`], [`operation`]), is judged ([`policy`]), waits for a human where the policy says so ([`approval`]), is recorded before it
//! acts ([`audit`], [`ledger`]), acts with a credential of that human ([`credential`], [`connector`]), is masked ([`mask`]), and is recorded
//! again before anybody hears of it. [`pipeline`] is that path on one screen.
//!
//! # Whose call it is
//! A token names a human and an agent; what the human lent, and whether the agent may act at all, the [`registry`] says at every judgement, and the
//! transaction that admits a call demands it once more. Providers that cannot mint such tokens have the [`token_service`].
//!
//! # Telling people, and hearing them
//! What happens to a request is owed to the configured channels in the same transaction ([`notice`]): rows, delivered by tasks of the broker until somebody
//! takes them or they are given up, each outcome a leaf. A decision comes to the human's door ([`inbox`]) by a token, a session, or the signed word of a
//! system that may speak for listed humans ([`identity::voucher`]); all of them end in `Desk::decide` with a `Person`.
//!
//! # Kubernetes
//! A call on a cluster is parsed into definite objects and judged by what it says of them ([`operation::kube`]), and made as the human, by
//! impersonation alone: the broker's own account needs `impersonate` on users, groups and the extras `agent`, `delegation` and `call`, and nothing
//! else (`examples/kubernetes/rbac.yaml`, `docs/kubernetes.md`). An approval is bound to the objects that the server's dry run showed; what comes of a
//! change is judged again before it is made. Values of Secrets are masked by kind, by name and by copy.
//!
//! # Hosts
//! A command is judged by what it would do before any host hears of it: words by the tables of [`operation::ssh::judge`], a shell's text by what every
//! shell reads alike, and what is not known is of the highest risk. The broker logs in to the host's own sshd as the human, by a certificate for that
//! one connection ([`credential::host`], `docs/ssh.md`); a call that changes anything has a connection and a certificate of its own, which names the
//! call. A program runs under a few lines of shell that end it when its connection does; what was not confirmed is told as unconfirmed. What programs
//! write is masked as a whole for the answer, and a second at a time for the recording.
//!
//! # Proofs are types
//! `Delegation` → `Call` → `Authorized` → `Permit` + `Entry` → `Unmasked` → `Masked` → `Reply`. Each has private fields, no `Clone`, and is
//! minted in one leaf file from the one before it, so that skipping a stage does not compile (`tests/ui`, `tests/it/tidy.rs`).
//!
//! # Dependencies point one way
//! `main -> cli -> config, broker -> server, token_service -> mcp, inbox -> pipeline -> stages -> call -> identity, operation`; `refusal`, `id`, `clock`,
//! `limit`, `inert`, `outbound`, `signature` and `ledger` are leaves. `tests/it/tidy.rs` holds the whole table.

pub mod approval;
pub mod audit;
pub mod broker;
pub mod call;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connector;
pub mod credential;
pub mod id;
pub mod identity;
pub mod inbox;
pub mod inert;
pub mod ledger;
pub mod limit;
pub mod mask;
pub mod mcp;
pub mod notice;
pub mod operation;
pub mod outbound;
pub mod pipeline;
pub mod policy;
pub mod record;
pub mod refusal;
pub mod registry;
pub mod server;
pub mod session;
pub mod signature;
pub mod telemetry;
pub mod token_service;
pub mod workplace;
