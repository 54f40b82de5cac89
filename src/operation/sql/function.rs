//! The functions, operators and types that are known to only read. A name that is not here is not known, whatever it sounds like.
//!
//! Absent on purpose: everything that writes (`setval`, `nextval`), looks at files or the network (`pg_read_file`, `lo_import`, `dblink`), runs
//! text as SQL (`query_to_xml`, `ts_stat`), waits (`pg_sleep`), changes the session (`set_config`), or makes a large value out of a small
//! statement (`repeat`, `lpad`, `format`, `zeroblob`).

use sqlparser::ast::{BinaryOperator, DataType, ObjectName, ObjectNamePart, UnaryOperator};

use crate::operation::sql::Engine;

const COMMON: &str = "
    abs acos asin atan atan2 avg ceil ceiling coalesce cos count cume_dist current_date current_time current_timestamp date degrees dense_rank exp
    first_value floor greatest lag last_value lead least length ln log log10 lower ltrim max min mod nth_value ntile nullif percent_rank pi power
    radians random rank replace round row_number rtrim sign sin sqrt substr substring sum tan trim trunc upper concat concat_ws string_agg";

const SQLITE: &str = "
    char datetime glob group_concat hex ifnull iif instr json json_array json_array_length json_each json_error_position json_extract
    json_group_array json_group_object json_object json_patch json_pretty json_quote json_remove json_replace json_set json_tree json_type
    json_valid julianday likelihood likely like octet_length quote soundex strftime time timediff total typeof unhex unicode unixepoch unlikely";

const POSTGRES: &str = "
    age array_agg array_append array_cat array_length array_lower array_ndims array_position array_positions array_prepend array_remove
    array_replace array_to_json array_to_string array_upper ascii bit_and bit_length bit_or bool_and bool_or btrim cardinality cbrt char_length
    character_length chr clock_timestamp corr covar_pop covar_samp current_schema current_user date_bin date_part date_trunc decode div encode every
    factorial gcd get_byte host initcap isfinite json_agg json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object json_object_agg json_object_keys
    json_strip_nulls json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists
    jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof
    justify_days justify_hours justify_interval lcm left localtime localtimestamp make_date make_interval make_time make_timestamp md5 mode now
    num_nonnulls num_nulls numnode octet_length overlay percentile_cont percentile_disc plainto_tsquery position pg_typeof quote_ident
    quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array
    regexp_split_to_table regexp_substr regr_slope reverse right row row_to_json scale session_user sha224 sha256 sha384 sha512 split_part
    starts_with statement_timestamp stddev stddev_pop stddev_samp string_to_array string_to_table strpos timeofday to_ascii to_char to_date to_hex
    to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp translate ts_headline ts_rank unnest upper_inf user
    var_pop var_samp variance version width_bucket bool_xor generate_series generate_subscripts jsonb_to_record jsonb_to_recordset json_to_record
    json_to_recordset obj_description col_description pg_get_viewdef pg_get_indexdef pg_get_constraintdef format_type pg_relation_size
    pg_total_relation_size pg_size_pretty";

/// Functions that both MySQL (8.0 to 9.7) and MariaDB have built in: a stored function of the same name is only called with its database before it.
/// What one version has and another has not (`md5`, `regexp_like`) is not here.
const MYSQL: &str = "
    abs acos ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or bit_xor cast ceil ceiling char char_length character_length coalesce
    concat concat_ws conv convert convert_tz cos cot count crc32 cume_dist curdate current_date current_time current_timestamp current_user curtime
    database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear degrees dense_rank elt exp export_set extract
    field find_in_set first_value floor format from_days from_unixtime greatest group_concat hex hour if ifnull inet_aton inet_ntoa insert instr
    interval isnull json_array json_arrayagg json_array_append json_array_insert json_contains json_contains_path json_depth json_extract
    json_insert json_keys json_length json_merge_patch json_merge_preserve json_object json_objectagg json_quote json_remove json_replace
    json_search json_set json_type json_unquote json_valid json_value lag last_day last_value lcase lead least left length ln locate localtime
    localtimestamp log log10 log2 lower ltrim makedate maketime max microsecond mid min minute mod month monthname now nth_value ntile nullif
    oct octet_length ord percent_rank period_add period_diff pi position pow power quarter quote radians rand rank regexp_instr regexp_replace
    regexp_substr replace reverse right round row_number rtrim schema sec_to_time second session_user sha2 sign sin soundex sqrt std
    stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time time_format
    time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase unhex unix_timestamp upper user
    utc_date utc_time utc_timestamp uuid var_pop var_samp variance version week weekday weekofyear weight_string year yearweek";

/// The largest literal bound of `generate_series`.
pub(super) const SERIES_MAX: i64 = 100_000;

/// A name's parts as the engine folds them; `None` for a part that is no plain identifier.
pub(super) fn folded(engine: Engine, name: &ObjectName) -> Option<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(fold(engine, ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// An identifier as the engine folds it: PostgreSQL keeps what is quoted, SQLite compares without case. They fold ASCII alone: `É` and `é` are two.
/// MySQL compares columns without case, and tables as its file system does: here two tables of one name but for its case are one, and rules for one
/// hold for both.
pub(super) fn fold(engine: Engine, ident: &sqlparser::ast::Ident) -> String {
    match engine {
        Engine::Postgres if ident.quote_style.is_some() => ident.value.clone(),
        Engine::Postgres | Engine::Sqlite | Engine::MySql => ident.value.to_ascii_lowercase(),
    }
}

/// The bare name of a function that is known to only read.
pub(super) fn known(engine: Engine, name: &ObjectName) -> Option<String> {
    let parts = folded(engine, name)?;
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if engine == Engine::Postgres && schema == "pg_catalog" => name,
        _ => return None,
    };
    let lists = match engine {
        Engine::Sqlite => [COMMON, SQLITE],
        Engine::Postgres => [COMMON, POSTGRES],
        Engine::MySql => [MYSQL, ""],
    };
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).any(|known| known == name).then(|| name.clone())
}

/// Functions of the server's own that are no mere reads, or too costly for one, and give back nothing of a table but what goes in: in a view they hide
/// nothing.
const fn hiding_nothing(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "format printf zeroblob randomblob changes last_insert_rowid total_changes",
        Engine::Postgres => {
            "repeat lpad rpad format gen_random_uuid current_setting pg_backend_pid pg_my_temp_schema current_schemas txid_current nextval currval
            lastval pg_get_expr to_regclass has_table_privilege has_schema_privilege pg_column_size pg_table_is_visible pg_is_in_recovery
            inet_client_addr inet_server_addr"
        }
        Engine::MySql => "repeat lpad rpad space last_insert_id found_rows row_count connection_id",
    }
}

/// Whether a function's result is made of its arguments alone.
pub(super) fn hides_nothing(engine: Engine, name: &ObjectName) -> bool {
    let listed = |name: &String| hiding_nothing(engine).split_ascii_whitespace().any(|known| known == name);
    known(engine, name).is_some()
        || folded(engine, name).is_some_and(|path| match path.as_slice() {
            [name] => listed(name),
            [schema, name] => engine == Engine::Postgres && schema == "pg_catalog" && listed(name),
            _ => false,
        })
}

/// Whether an operator is one of the engine's own. A custom one calls a function that nobody here has judged.
pub(super) const fn known_binary(operator: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(
        operator,
        B::Plus
            | B::Minus
            | B::Multiply
            | B::Divide
            | B::Modulo
            | B::StringConcat
            | B::Gt
            | B::Lt
            | B::GtEq
            | B::LtEq
            | B::Eq
            | B::NotEq
            | B::And
            | B::Or
            | B::BitwiseOr
            | B::BitwiseAnd
            | B::BitwiseXor
            | B::Glob
            | B::PGBitwiseXor
            | B::PGBitwiseShiftLeft
            | B::PGBitwiseShiftRight
            | B::PGExp
            | B::PGOverlap
            | B::PGRegexMatch
            | B::PGRegexIMatch
            | B::PGRegexNotMatch
            | B::PGRegexNotIMatch
            | B::PGLikeMatch
            | B::PGILikeMatch
            | B::PGNotLikeMatch
            | B::PGNotILikeMatch
            | B::PGStartsWith
            | B::Arrow
            | B::LongArrow
            | B::HashArrow
            | B::HashLongArrow
            | B::AtAt
            | B::AtArrow
            | B::ArrowAt
            | B::HashMinus
            | B::AtQuestion
            | B::Question
            | B::QuestionAnd
            | B::QuestionPipe
            | B::Overlaps
            | B::Spaceship
            | B::Xor
            | B::MyIntegerDivide
    )
}

/// The same for operators with one operand.
pub(super) const fn known_unary(operator: UnaryOperator) -> bool {
    use UnaryOperator as U;
    matches!(operator, U::Plus | U::Minus | U::Not | U::BitwiseNot | U::PGAbs | U::PGSquareRoot | U::PGCubeRoot)
}

/// Whether a cast's target is one of the engine's own types. A cast to another type calls that type's input function.
pub(super) fn known_type(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) => known_type(inner),
        T::Custom(name, arguments) => {
            let name = name.to_string().to_ascii_lowercase();
            arguments.is_empty()
                && matches!(
                    name.as_str(),
                    "name"
                        | "oid"
                        | "inet"
                        | "cidr"
                        | "macaddr"
                        | "money"
                        | "int4range"
                        | "int8range"
                        | "numrange"
                        | "daterange"
                        | "tsrange"
                        | "tstzrange"
                )
        }
        T::Character(_)
        | T::Char(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Varchar(_)
        | T::Nvarchar(_)
        | T::Uuid
        | T::Signed
        | T::SignedInteger
        | T::Unsigned
        | T::UnsignedInteger
        | T::Binary(_)
        | T::Blob(_)
        | T::Numeric(_)
        | T::Decimal(_)
        | T::Dec(_)
        | T::Float(_)
        | T::TinyInt(_)
        | T::Int2(_)
        | T::SmallInt(_)
        | T::Int(_)
        | T::Int4(_)
        | T::Int8(_)
        | T::Integer(_)
        | T::BigInt(_)
        | T::Float4
        | T::Real
        | T::Float8
        | T::Double(_)
        | T::DoublePrecision
        | T::Bool
        | T::Boolean
        | T::Date
        | T::Time(..)
        | T::Datetime(_)
        | T::Timestamp(..)
        | T::Interval { .. }
        | T::JSON
        | T::JSONB
        | T::Text
        | T::Bytea
        | T::Bit(_)
        | T::BitVarying(_)
        | T::Clob(_)
        | T::TsVector
        | T::TsQuery => true,
        _ => false,
    }
}

/// SQLite's table functions that can be named like tables: what they show is chosen by conditions on hidden columns.
const EPONYMOUS: [&str; 10] = [
    "json_each",
    "json_tree",
    "jsonb_each",
    "jsonb_tree",
    "dbstat",
    "generate_series",
    "fts3tokenize",
    "bytecode",
    "tables_used",
    "carray",
];

/// Databases of MySQL's own.
pub const SYSTEM_DATABASES: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// MariaDB makes a table of numbers for whoever names one: `seq_1_to_1000000000`.
fn is_sequence(name: &str) -> bool {
    name.strip_prefix("seq_").is_some_and(|rest| rest.contains("_to_") && rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Catalogue relations that hold names and shapes, and nothing that somebody stored.
pub(super) fn harmless_catalogue(engine: Engine, path: &[String]) -> Option<bool> {
    const POSTGRES: &str = "
        pg_class pg_namespace pg_attribute pg_type pg_index pg_indexes pg_constraint pg_tables pg_views pg_matviews pg_sequences pg_description
        pg_enum pg_database pg_inherits pg_depend pg_am pg_collation pg_extension pg_trigger";
    const MYSQL_INFORMATION: &str = "
        tables columns schemata statistics table_constraints key_column_usage referential_constraints character_sets collations engines";
    const INFORMATION: &str = "
        tables columns views schemata table_constraints key_column_usage referential_constraints constraint_column_usage check_constraints
        sequences domains element_types";
    let (schema, name) = match path {
        [name] => ("", name.as_str()),
        [schema, name] => (schema.as_str(), name.as_str()),
        _ => return Some(false),
    };
    let listed = |list: &str| Some(list.split_ascii_whitespace().any(|known| known == name));
    match engine {
        Engine::Postgres if schema == "information_schema" => listed(INFORMATION),
        Engine::Postgres if schema == "pg_catalog" || schema.starts_with("pg_") || (schema.is_empty() && name.starts_with("pg_")) => {
            if schema.is_empty() || schema == "pg_catalog" {
                listed(POSTGRES)
            } else {
                Some(false)
            }
        }
        Engine::MySql if schema == "information_schema" => listed(MYSQL_INFORMATION),
        Engine::MySql if SYSTEM_DATABASES.contains(&schema) || is_sequence(name) => Some(false),
        Engine::Sqlite if name.starts_with("sqlite_") => Some(matches!(name, "sqlite_master" | "sqlite_schema")),
        Engine::Sqlite if name.starts_with("pragma_") || schema == "temp" || EPONYMOUS.contains(&name) => Some(false),
        _ => None,
    }
}
