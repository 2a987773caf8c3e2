//! What the server says of itself: GetSqlInfo and GetXdbcTypeInfo.

use std::collections::HashMap;

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
    SqlTransactionIsolationLevel, SupportedSqlGrammar, XdbcDataType, XdbcDatetimeSubcode,
};

use super::limits::SqlLimits;

/// What drivers ask before they do anything else.
pub(super) fn sql_info(limits: &SqlLimits) -> Result<SqlInfoData, FlightError> {
    let mut all = SqlInfoDataBuilder::new();
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let bits = |numbers: &[i32]| numbers.iter().fold(0, |bits, number| bits | 1 << number);
    all.append(SqlInfo::FlightSqlServerName, "datafusion-psi");
    all.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    all.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    // Views and tables of a session alone can be made; nothing that lasts is written.
    all.append(SqlInfo::FlightSqlServerReadOnly, true);
    all.append(SqlInfo::FlightSqlServerSql, true);
    all.append(SqlInfo::FlightSqlServerSubstrait, false);
    all.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    all.append(SqlInfo::FlightSqlServerCancel, true);
    all.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    all.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    all.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
    all.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    all.append(SqlInfo::SqlDdlCatalog, false);
    all.append(SqlInfo::SqlDdlSchema, true);
    all.append(SqlInfo::SqlDdlTable, true);
    all.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    all.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    all.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    // A peer's tables have no rows here.
    all.append(SqlInfo::SqlAllTablesAreSelectable, false);
    all.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    all.append(SqlInfo::SqlKeywords, words(&["EXPLAIN", "ANALYZE", "DESCRIBE", "SHOW", "QUALIFY", "EXCLUDE"]));
    all.append(
        SqlInfo::SqlNumericFunctions,
        words(&["abs", "ceil", "exp", "floor", "ln", "log", "mod", "power", "round", "sign", "sqrt", "trunc"]),
    );
    all.append(
        SqlInfo::SqlStringFunctions,
        words(&[
            "ascii", "btrim", "concat", "left", "length", "lower", "lpad", "ltrim", "repeat", "replace", "right",
            "rtrim", "substr", "upper",
        ]),
    );
    all.append(SqlInfo::SqlSystemFunctions, words(&["arrow_typeof", "coalesce", "nullif", "version"]));
    all.append(
        SqlInfo::SqlDatetimeFunctions,
        words(&["current_date", "current_time", "date_bin", "date_part", "date_trunc", "now", "to_timestamp"]),
    );
    all.append(SqlInfo::SqlSearchStringEscape, "\\");
    all.append(SqlInfo::SqlExtraNameCharacters, "");
    all.append(SqlInfo::SqlSupportsColumnAliasing, true);
    all.append(SqlInfo::SqlNullPlusNullIsNull, true);
    all.append(SqlInfo::SqlSupportsConvert, HashMap::<i32, Vec<i32>>::new());
    all.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    all.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    all.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    all.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    all.append(SqlInfo::SqlSupportedGroupBy, bits(&[SqlSupportedGroupBy::SqlGroupByUnrelated as i32]));
    all.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    all.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    all.append(
        SqlInfo::SqlSupportedGrammar,
        bits(&[SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32]),
    );
    // Entry level: the least of the three that the format has; nobody has measured more.
    all.append(SqlInfo::SqlAnsi92SupportedLevel, bits(&[0]));
    all.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    all.append(SqlInfo::SqlOuterJoinsSupportLevel, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32);
    all.append(SqlInfo::SqlSchemaTerm, "schema");
    all.append(SqlInfo::SqlProcedureTerm, "procedure");
    all.append(SqlInfo::SqlCatalogTerm, "catalog");
    all.append(SqlInfo::SqlCatalogAtStart, true);
    all.append(SqlInfo::SqlSchemasSupportedActions, 0i32);
    all.append(SqlInfo::SqlCatalogsSupportedActions, 0i32);
    all.append(SqlInfo::SqlSupportedPositionedCommands, 0i32);
    all.append(SqlInfo::SqlSelectForUpdateSupported, false);
    all.append(SqlInfo::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    all.append(SqlInfo::SqlSupportedSubqueries, bits(&subqueries));
    all.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    all.append(SqlInfo::SqlSupportedUnions, bits(&unions));
    // Zero is "no limit, or none that is known".
    for unlimited in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
    ] {
        all.append(unlimited, 0i64);
    }
    all.append(SqlInfo::SqlMaxConnections, whole(limits.sessions_per_analyst_max));
    all.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, false);
    all.append(SqlInfo::SqlMaxStatementLength, whole(limits.text_bytes_max));
    all.append(SqlInfo::SqlMaxStatements, whole(limits.statements_per_session_max));
    all.append(SqlInfo::SqlMaxUsernameLength, 64i64);
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    all.append(SqlInfo::SqlDefaultTransactionIsolation, i64::from(none));
    all.append(SqlInfo::SqlTransactionsSupported, false);
    all.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, bits(&[none]));
    all.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    all.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, true);
    // Forward only, read only.
    all.append(SqlInfo::SqlSupportedResultSetTypes, bits(&[1]));
    all.append(SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, bits(&[1]));
    all.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bits(&[1]));
    all.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0i32);
    all.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0i32);
    all.append(SqlInfo::SqlBatchUpdatesSupported, false);
    all.append(SqlInfo::SqlSavepointsSupported, false);
    all.append(SqlInfo::SqlNamedParametersSupported, false);
    all.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    all.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    all.build()
}

/// The SQL types, by the names that CAST takes.
pub(super) fn types() -> Result<XdbcTypeInfoData, FlightError> {
    use XdbcDataType as X;
    let mut all = XdbcTypeInfoDataBuilder::new();
    let number = |name: &str, kind: X, digits: i32, scale: Option<i32>, unsigned: bool| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        column_size: Some(digits),
        unsigned_attribute: Some(unsigned),
        fixed_prec_scale: false,
        auto_increment: Some(false),
        minimum_scale: scale.map(|_| 0),
        maximum_scale: scale,
        sql_data_type: kind,
        num_prec_radix: Some(10),
        ..common()
    };
    all.append(number("TINYINT", X::XdbcTinyint, 3, Some(0), false));
    all.append(number("SMALLINT", X::XdbcSmallint, 5, Some(0), false));
    all.append(number("INTEGER", X::XdbcInteger, 10, Some(0), false));
    all.append(number("BIGINT", X::XdbcBigint, 19, Some(0), false));
    all.append(number("BIGINT UNSIGNED", X::XdbcBigint, 20, Some(0), true));
    all.append(number("REAL", X::XdbcReal, 7, None, false));
    all.append(number("DOUBLE", X::XdbcDouble, 15, None, false));
    let decimal = XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        ..number("DECIMAL", X::XdbcDecimal, 38, Some(38), false)
    };
    all.append(decimal);
    all.append(XdbcTypeInfo {
        type_name: "BOOLEAN".to_owned(),
        data_type: X::XdbcBit,
        column_size: Some(1),
        sql_data_type: X::XdbcBit,
        ..common()
    });
    let quoted = |name: &str, kind: X, prefix: &str, case_sensitive: bool, searchable: Searchable| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        case_sensitive,
        searchable,
        sql_data_type: kind,
        ..common()
    };
    all.append(quoted("VARCHAR", X::XdbcVarchar, "'", true, Searchable::Full));
    all.append(quoted("BYTEA", X::XdbcVarbinary, "X'", false, Searchable::Basic));
    let time = |name: &str, kind: X, subcode: XdbcDatetimeSubcode, size: i32| XdbcTypeInfo {
        column_size: Some(size),
        sql_data_type: X::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..quoted(name, kind, "'", false, Searchable::Basic)
    };
    all.append(time("DATE", X::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10));
    all.append(time("TIME", X::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 18));
    all.append(time("TIMESTAMP", X::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, 29));
    all.build()
}

fn common() -> XdbcTypeInfo {
    XdbcTypeInfo { nullable: Nullable::NullabilityNullable, searchable: Searchable::Basic, ..XdbcTypeInfo::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_that_the_format_numbers_has_an_answer() {
        let all = sql_info(&SqlLimits::default()).unwrap();
        // The ranges of the enumeration, less Substrait's versions, of which there is none.
        let asked: Vec<u32> = (0..=5).chain(8..=11).chain([100, 101]).chain(500..=576).collect();
        for number in asked {
            assert_eq!(all.record_batch([number]).unwrap().num_rows(), 1, "{number}");
        }
        assert!(types().unwrap().record_batch(None).unwrap().num_rows() >= 10);
        assert_eq!(types().unwrap().record_batch(XdbcDataType::XdbcBigint as i32).unwrap().num_rows(), 2);
    }
}
