//! What a definition may make of a table, and what it may change of one. All else is of another kind, or the highest risk.

use sqlparser::ast::{AlterTableOperation, CreateTableOptions, DropBehavior, SqlOption};

use crate::operation::sql::Engine;

/// Whether options leave a table what it is. On MySQL they can make one whose rows are another table's, another server's, or a file's.
pub(super) fn makes_a_plain_table(engine: Engine, options: &CreateTableOptions) -> bool {
    const HARMLESS: [&str; 8] = [
        "CHARSET",
        "CHARACTER SET",
        "DEFAULT CHARSET",
        "DEFAULT CHARACTER SET",
        "COLLATE",
        "DEFAULT COLLATE",
        "AUTO_INCREMENT",
        "ROW_FORMAT",
    ];
    let harmless = |option: &SqlOption| match option {
        SqlOption::Comment(_) => true,
        SqlOption::KeyValue { key, .. } => HARMLESS.contains(&key.value.to_ascii_uppercase().as_str()),
        SqlOption::NamedParenthesizedList(list) => {
            list.key.value.eq_ignore_ascii_case("engine")
                && list.values.is_empty()
                && list.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case("innodb"))
        }
        _ => false,
    };
    engine != Engine::MySql
        || match options {
            CreateTableOptions::None => true,
            CreateTableOptions::Plain(options) => options.iter().all(harmless),
            _ => false,
        }
}

/// What ALTER TABLE may do to columns, constraints and names. All else (owner, row-level security, triggers, rules, partitions) is about who may
/// do what, and is the highest risk.
pub(super) const fn changes_shape(operation: &AlterTableOperation) -> bool {
    use AlterTableOperation as A;
    matches!(
        operation,
        A::AddColumn { .. }
            | A::DropColumn { drop_behavior: None | Some(DropBehavior::Restrict), .. }
            | A::AlterColumn { .. }
            | A::RenameColumn { .. }
            | A::AddConstraint { .. }
            | A::DropConstraint { drop_behavior: None | Some(DropBehavior::Restrict), .. }
            | A::RenameConstraint { .. }
            | A::ValidateConstraint { .. }
    )
}
