//! What every tool on a cluster or host takes, and how the types of their arguments are made: they parse the arguments, and the schemas that agents read are
//! made from them.

/// What every tool on a target takes beside its own.
pub(in crate::catalog) trait Common {
    /// The target's name.
    fn target(&self) -> &str;
    /// The longest time it may take.
    fn timeout_ms(&self) -> Option<u64>;
    /// Why, in the agent's own words.
    fn reason(&self) -> Option<String>;
}

/// The arguments of one tool; with `object` before the name, those that name one object too.
macro_rules! arguments {
    ($(#[$meta:meta])* object $name:ident { $($body:tt)* }) => {
        arguments! {
            $(#[$meta])*
            $name {
                /// Such as `v1` or `apps/v1`; may be left out for kinds that every cluster has.
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(length(min = 1, max = 320))]
                pub api_version: Option<String>,
                /// Such as `Pod`, `deploy`, `deployments.apps`.
                #[schemars(length(min = 1, max = 253))]
                pub kind: String,
                /// The object's name.
                #[schemars(length(min = 1, max = 253))]
                pub name: String,
                /// Its namespace.
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(length(min = 1, max = 63))]
                pub namespace: Option<String>,
                $($body)*
            }
        }
    };
    ($(#[$meta:meta])* $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The target's name, from list_targets.
            pub target: String,
            $($body)*
            /// The work is stopped after this many milliseconds; 30000 if left out.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 100, max = 300000))]
            pub timeout_ms: Option<u64>,
            /// Why you need it; shown to humans as your own words, never trusted.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 1000))]
            pub reason: Option<String>,
        }

        impl Common for $name {
            fn target(&self) -> &str {
                &self.target
            }

            fn timeout_ms(&self) -> Option<u64> {
                self.timeout_ms
            }

            fn reason(&self) -> Option<String> {
                self.reason.clone()
            }
        }
    };
}

pub(in crate::catalog) use arguments;

/// Left out of the canonical form where it is false, as where it was not given.
pub(in crate::catalog) fn is_false(value: &bool) -> bool {
    !*value
}
