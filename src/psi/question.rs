//! The question: all that the peer learns of the SQL.

/// The part of a query that concerns the peer: all that it learns of the SQL.
///
/// The answer has one *cell* per pair of a *part* (a group of the requester's own) and a *label* (a public one of the
/// responder's column), with one sum per aggregate in each; a question without groups has one cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The shared table's name at the responder.
    pub table: String,
    /// The share's identifiers to match by, in match order (1..=8; one may occur twice).
    pub identifiers: Vec<String>,
    /// SQL text of the filter over the share's `filter_on` columns (unqualified names), if any. An entry none of whose
    /// rows pass it is emptied.
    pub filter: Option<String>,
    /// The distinct aggregates, in the order of their words.
    pub aggregates: Vec<AskedWord>,
    /// The responder's column whose public labels group the answer, if any.
    pub group_by: Option<String>,
    /// Whether the requester groups by values of its own. Neither they nor their names leave it; how many groups there
    /// are is in the offer.
    pub own_groups: bool,
}

/// One aggregate of a question: one sum in every cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AskedWord {
    /// What is summed.
    pub aggregate: Aggregate,
    /// SQL text of a filter over the share's `filter_on` columns, as [`Question::filter`]: the rows that count for this
    /// word are those that pass both. It empties no entry, so that no length depends on it. Never on a value of the
    /// requester's own.
    pub when: Option<String>,
}

impl AskedWord {
    /// Whether the requester owns the values that are summed.
    pub fn is_own(&self) -> bool {
        self.aggregate.is_own()
    }
}

impl From<Aggregate> for AskedWord {
    /// The aggregate over all rows that pass the question's filter.
    fn from(aggregate: Aggregate) -> Self {
        AskedWord { aggregate, when: None }
    }
}

impl std::fmt::Display for AskedWord {
    /// `sum(amount)`, or `sum(amount) when (FILTER)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.when {
            None => write!(f, "{}", self.aggregate),
            Some(filter) => write!(f, "{} when ({filter})", self.aggregate),
        }
    }
}

/// One sum over the matched persons. AVG is `Sum` and `Rows` of the same column; a variance also `Squares`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// COUNT(*): matched persons. Owned by the responder.
    Persons,
    /// COUNT(column) over the responder's column: rows of matched persons, at most `max_rows` each.
    Rows {
        /// The responder's column.
        column: String,
    },
    /// SUM(column) over the responder's column, clipped per person.
    Sum {
        /// The responder's column.
        column: String,
    },
    /// The sum of the squares of the responder's column: summed exactly per person, then clipped to 0 … `squares_max`.
    Squares {
        /// The responder's column.
        column: String,
    },
    /// COUNT of a value of the requester's own over matched persons; only where the share has `requester_values`.
    OwnRows {
        /// The position of the value among the query's own values, from 0: its name stays at home.
        value: u8,
    },
    /// SUM of a value of the requester's own over matched persons; only where the share has `requester_values`.
    OwnSum {
        /// The position of the value among the query's own values, from 0: its name stays at home.
        value: u8,
        /// Decimals of the fixed point that the requester uses (0 for integers).
        decimals: u8,
    },
}

impl Aggregate {
    /// Whether the requester owns the values that are summed.
    pub fn is_own(&self) -> bool {
        matches!(self, Aggregate::OwnRows { .. } | Aggregate::OwnSum { .. })
    }

    /// The responder's column that is read, if any.
    pub fn column(&self) -> Option<&str> {
        match self {
            Aggregate::Rows { column } | Aggregate::Sum { column } | Aggregate::Squares { column } => Some(column),
            Aggregate::Persons | Aggregate::OwnRows { .. } | Aggregate::OwnSum { .. } => None,
        }
    }

    /// The aggregate as an analyst would call it, for sentences.
    pub fn in_words(&self) -> String {
        match self {
            Aggregate::Persons => "the count of persons".to_owned(),
            Aggregate::Rows { column } => format!("the count of '{column}'"),
            Aggregate::Sum { column } => format!("the sum of '{column}'"),
            Aggregate::Squares { column } => format!("the sum of squares of '{column}'"),
            Aggregate::OwnRows { value } => format!("the count of value {} of one's own", u16::from(*value) + 1),
            Aggregate::OwnSum { value, .. } => format!("the sum of value {} of one's own", u16::from(*value) + 1),
        }
    }
}

impl std::fmt::Display for Aggregate {
    /// The wire's and the log's form: `persons`, `rows(amount)`, `sum(amount)`, `squares(amount)`, `own-rows(0)`,
    /// `own-sum(0,2)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Aggregate::Persons => f.write_str("persons"),
            Aggregate::Rows { column } => write!(f, "rows({column})"),
            Aggregate::Sum { column } => write!(f, "sum({column})"),
            Aggregate::Squares { column } => write!(f, "squares({column})"),
            Aggregate::OwnRows { value } => write!(f, "own-rows({value})"),
            Aggregate::OwnSum { value, decimals } => write!(f, "own-sum({value},{decimals})"),
        }
    }
}

impl std::str::FromStr for Aggregate {
    type Err = ();

    /// Reads exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, ()> {
        let inner = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')');
        let number = |digits: &str| digits.parse::<u8>().ok().filter(|n| n.to_string() == digits);
        let read = || {
            if text == "persons" {
                Some(Aggregate::Persons)
            } else if let Some(value) = inner("own-rows(") {
                Some(Aggregate::OwnRows { value: number(value)? })
            } else if let Some(both) = inner("own-sum(") {
                let (value, decimals) = both.split_once(',')?;
                Some(Aggregate::OwnSum { value: number(value)?, decimals: number(decimals)? })
            } else if let Some(column) = inner("rows(") {
                Some(Aggregate::Rows { column: column.to_owned() })
            } else if let Some(column) = inner("squares(") {
                Some(Aggregate::Squares { column: column.to_owned() })
            } else {
                Some(Aggregate::Sum { column: inner("sum(")?.to_owned() })
            }
        };
        read().ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_is_read_back_from_its_text_whatever_its_column_is_called() {
        for column in ["amount", "amount (net)", "", "a) when (b", "squares(x)"] {
            let column = column.to_owned();
            for aggregate in [
                Aggregate::Rows { column: column.clone() },
                Aggregate::Sum { column: column.clone() },
                Aggregate::Squares { column },
            ] {
                assert_eq!(aggregate.to_string().parse(), Ok(aggregate));
            }
        }
        for aggregate in
            [Aggregate::Persons, Aggregate::OwnRows { value: 255 }, Aggregate::OwnSum { value: 3, decimals: 0 }]
        {
            assert_eq!(aggregate.to_string().parse(), Ok(aggregate));
        }
        for text in ["", "Persons", "square(x)", "own-rows(256)", "own-rows(01)", "own-sum(1)", "sum(x) ", "sum(x"] {
            assert_eq!(text.parse::<Aggregate>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_word_says_what_it_is_about() {
        let word = AskedWord::from(Aggregate::Sum { column: "amount".to_owned() });
        assert_eq!(word.to_string(), "sum(amount)");
        let toys = AskedWord { when: Some("category = 'toys'".to_owned()), ..word };
        assert_eq!(toys.to_string(), "sum(amount) when (category = 'toys')");
    }
}
