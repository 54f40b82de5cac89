//! The built-in tools: names, titles and descriptions. An agent knows nothing else of them, so every word is for it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::catalog::{Listing, Target, approvals, arguments, kube, schema, ssh};
use crate::operation::Risk;

/// Which, of the broker's own and for targets of every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    ListTargets,
    Whoami,
    DbQuery,
    DbExecute,
    DbSearchObjects,
    DbDescribe,
    ApprovalStatus,
    ApprovalWait,
    ApprovalWithdraw,
    RequestAccess,
    MultiExec,
    Kube(kube::Tool),
    Ssh(ssh::Tool),
}

const OWN: [Builtin; 11] = [
    Builtin::ListTargets,
    Builtin::Whoami,
    Builtin::DbQuery,
    Builtin::DbExecute,
    Builtin::DbSearchObjects,
    Builtin::DbDescribe,
    Builtin::ApprovalStatus,
    Builtin::ApprovalWait,
    Builtin::ApprovalWithdraw,
    Builtin::RequestAccess,
    Builtin::MultiExec,
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Builtin> {
    OWN.into_iter().chain(kube::ALL.map(Builtin::Kube)).chain(ssh::ALL.map(Builtin::Ssh))
}

impl Builtin {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ListTargets => "list_targets",
            Self::Whoami => "whoami",
            Self::DbQuery => "db_query",
            Self::DbExecute => "db_execute",
            Self::DbSearchObjects => "db_search_objects",
            Self::DbDescribe => "db_describe",
            Self::ApprovalStatus => "approval_status",
            Self::ApprovalWait => "approval_wait",
            Self::ApprovalWithdraw => "approval_withdraw",
            Self::RequestAccess => "request_access",
            Self::MultiExec => "ssh_multi_exec",
            Self::Kube(tool) => tool.name(),
            Self::Ssh(tool) => tool.name(),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::ListTargets => "List targets",
            Self::Whoami => "Who am I",
            Self::DbQuery => "Query a database",
            Self::DbExecute => "Change a database",
            Self::DbSearchObjects => "Search database objects",
            Self::DbDescribe => "Describe a table or view",
            Self::ApprovalStatus => "Look at an approval",
            Self::ApprovalWait => "Wait for an approval",
            Self::ApprovalWithdraw => "Withdraw a request",
            Self::RequestAccess => "Ask for access",
            Self::MultiExec => "Run a program on several hosts",
            Self::Kube(tool) => tool.title(),
            Self::Ssh(tool) => tool.title(),
        }
    }

    fn description(self) -> String {
        let told = match self {
            Self::Kube(tool) => return tool.description(),
            Self::Ssh(tool) => return tool.description(),
            Self::ListTargets => {
                "Lists the databases, clusters and hosts that you may use, with their engine and environment, and whether you may read or write there. Call it first."
            }
            Self::Whoami => "Says in whose name you act: the human, the agent, the scopes, and until when.",
            Self::DbQuery => {
                "Runs one SQL statement that only reads (SELECT, VALUES, WITH … SELECT) and returns columns and rows. Bind values as params instead of writing them into the statement. Personal data and secrets come back masked, whatever expression they are in; do not try to get around that. A statement that changes anything, or calls a function that is not known to only read, is refused: use db_execute for changes."
            }
            Self::DbExecute => {
                "Runs one SQL statement that changes data or definitions, in a transaction of its own. It may need a human's approval and may then answer status approval_pending: call approval_wait with the approval's id, then repeat this exact same call. The approver sees the exact statement and the rows it would touch, so keep it narrow: a WHERE by key, and expect_max_rows. Never split or rephrase a statement to avoid approval."
            }
            Self::DbSearchObjects => {
                "Finds schemas, tables, views, columns or indexes by name pattern (LIKE). Names only by default, which is cheap; ask for summary or full when you need more. Use it before writing SQL against a database that you do not know."
            }
            Self::DbDescribe => "Describes one table or view: columns with types and defaults, primary key, foreign keys, indexes.",
            Self::ApprovalStatus => {
                "Says how an approval stands: pending, approved, denied, expired or spent. It decides nothing: only humans do, elsewhere."
            }
            Self::ApprovalWait => {
                "Waits until a human has decided an approval, or until max_wait_s, and says how it stands. When it says approved, repeat the exact same call as before; this tool does not execute it."
            }
            Self::ApprovalWithdraw => {
                "Withdraws a request of yours that is not wanted any more, approved or not: nobody has to decide it, and the call cannot go ahead by it."
            }
            Self::RequestAccess => {
                "Asks a human to let several calls of one kind go ahead for a while, where the policy allows that: these tools, on this target, on what you name there, up to this risk, for so many minutes and calls. Ask for as little as the task needs: the approver may narrow it. It grants nothing by itself: call approval_wait with the id, then make the calls; each is judged and recorded as always, and one beyond the scope asks by itself."
            }
            Self::MultiExec => {
                "Runs one program on several hosts, so many at once: each host is a call of ssh_exec of its own, judged, approved and recorded by itself, and told by itself in results. Name targets, or a group that list_targets shows. With stop_on_error no host is begun after one on which it failed. Where some answer approval_pending, wait for those and repeat this exact same call."
            }
        };
        told.to_owned()
    }

    pub(super) const fn mildest(self) -> (&'static str, &'static str, Risk) {
        match self {
            Self::ListTargets
            | Self::Whoami
            | Self::ApprovalStatus
            | Self::ApprovalWait
            | Self::ApprovalWithdraw
            | Self::RequestAccess
            | Self::MultiExec => ("local", self.name(), Risk::Read),
            Self::DbQuery => ("sql", "select", Risk::Read),
            Self::DbExecute => ("sql", "update", Risk::Write),
            Self::DbSearchObjects | Self::DbDescribe => ("sql", "describe", Risk::Read),
            Self::Kube(tool) => {
                let (verb, risk) = tool.mildest();
                ("kube", verb, risk)
            }
            Self::Ssh(tool) => {
                let (verb, risk) = tool.mildest();
                ("ssh", verb, risk)
            }
        }
    }

    pub(super) fn input(self) -> Arc<Map<String, Value>> {
        match self {
            Self::ListTargets | Self::Whoami => schema::input::<arguments::Nothing>(),
            Self::DbQuery => schema::input::<arguments::Query>(),
            Self::DbExecute => schema::input::<arguments::Execute>(),
            Self::DbSearchObjects => schema::input::<arguments::SearchObjects>(),
            Self::DbDescribe => schema::input::<arguments::Describe>(),
            Self::ApprovalStatus => schema::input::<approvals::ApprovalOf>(),
            Self::ApprovalWait => schema::input::<approvals::ApprovalWait>(),
            Self::ApprovalWithdraw => schema::input::<approvals::ApprovalOf>(),
            Self::RequestAccess => schema::input::<approvals::RequestAccess>(),
            Self::MultiExec => schema::input::<ssh::arguments::MultiExec>(),
            Self::Kube(tool) => tool.input(),
            Self::Ssh(tool) => tool.input(),
        }
    }

    pub(super) fn result(self) -> Value {
        match self {
            Self::DbQuery | Self::DbExecute => schema::rows(),
            Self::Kube(tool) => tool.result(),
            Self::Ssh(tool) => tool.result(),
            _ => json!({ "type": "object" }),
        }
    }

    pub(super) fn annotations(self) -> [bool; 4] {
        match self {
            Self::Kube(tool) => tool.annotations(),
            Self::Ssh(tool) => tool.annotations(),
            // What it does on each host is said there.
            Self::MultiExec => [false, true, false, false],
            // They change what the broker keeps, and nothing else.
            Self::ApprovalWithdraw | Self::RequestAccess => [false, false, true, false],
            _ => {
                let reads = self.mildest().2 == Risk::Read;
                [reads, !reads, reads, false]
            }
        }
    }

    /// How it is listed, for the targets of its kind among these.
    pub(super) fn listing<'a>(self, targets: impl Iterator<Item = &'a Target>) -> Listing {
        let (kind, verb, min_risk) = self.mildest();
        Listing {
            name: self.name().to_owned(),
            title: self.title().to_owned(),
            description: self.description(),
            input_schema: self.input(),
            output_schema: schema::output(&self.result()),
            annotations: self.annotations(),
            min_risk,
            verb,
            kind,
            targets: targets.filter(|target| target.of.kind() == kind).map(|target| target.facts.clone()).collect(),
            made_of: (self == Self::MultiExec).then_some("ssh_exec"),
        }
    }
}
