//! Parameters: JSON's few types as the protocol has them. The server turns a text into what the placeholder wants, and says so if it cannot.

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, Encode, MySql, Type};

use crate::operation::sql::Param;
use crate::refusal::{Code, Refusal};

/// The arguments of a prepared statement.
pub(super) fn arguments(params: &[Param]) -> Result<MySqlArguments, Refusal> {
    let mut arguments = MySqlArguments::default();
    for (index, param) in params.iter().enumerate() {
        match param {
            Param::Null => push(&mut arguments, index, None::<String>),
            Param::Bool(truth) => push(&mut arguments, index, *truth),
            Param::Integer(number) => push(&mut arguments, index, *number),
            Param::Number(number) => push(&mut arguments, index, *number),
            Param::Text(text) => push(&mut arguments, index, text.clone()),
        }?;
    }
    Ok(arguments)
}

fn push<'q, T: Encode<'q, MySql> + Type<MySql> + 'q>(arguments: &mut MySqlArguments, index: usize, value: T) -> Result<(), Refusal> {
    let wrong = |_| Refusal::new(Code::InvalidParameters).detail(format!("parameter {} cannot be bound", index + 1));
    arguments.add(value).map_err(wrong)
}
