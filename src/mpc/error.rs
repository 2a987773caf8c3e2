//! What can go wrong, by whose fault.

/// A run of OT ended early. Every error is final: the state that met it is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtError {
    /// The peer sent what an honest peer never sends.
    #[error("the peer broke the oblivious transfer: {0}; nothing was released, end the session")]
    Peer(#[from] PeerMisbehaved),
    /// The calling code broke the order or shape of calls.
    #[error("wrong use of the oblivious transfer: {0}")]
    Caller(#[from] Misuse),
}

/// What the peer did. None of these tells a secret: after any of them the run's secrets are never
/// used again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// A row of another width than the parameters give.
    #[error("{message} has rows of {found} bytes where {expected} were agreed")]
    Width {
        /// The message's name.
        message: &'static str,
        /// Bytes per row that the parameters give.
        expected: usize,
        /// Bytes per row that came.
        found: usize,
    },
    /// The bytes are no whole number of rows.
    #[error("{message} has {bytes} bytes, which is no whole number of rows of {width} bytes")]
    Leftover {
        /// The message's name.
        message: &'static str,
        /// Bytes per row.
        width: usize,
        /// Bytes that came.
        bytes: usize,
    },
    /// Too few or too many rows.
    #[error("{message} has {found} rows where {expected} were due")]
    Rows {
        /// The message's name.
        message: &'static str,
        /// Rows that were due; 0 where the message was not due at all.
        expected: usize,
        /// Rows that came.
        found: usize,
    },
    /// A value that is not the canonical encoding of a group element.
    #[error("{message} holds no canonical group element at row {row}")]
    NotAnElement {
        /// The message's name.
        message: &'static str,
        /// Index of the row.
        row: usize,
    },
    /// The identity, or a value that makes a shared element the identity.
    #[error("{message} holds the identity element at row {row}")]
    Identity {
        /// The message's name.
        message: &'static str,
        /// Index of the row.
        row: usize,
    },
    /// The trees' check values do not fit (SoftSpokenOT, figure 14).
    #[error("its trees are not consistent")]
    TreeCheck,
    /// The extension's check values do not fit (SoftSpokenOT, section 4): corrections were not
    /// those of one vector of choices.
    #[error("its corrections are not consistent")]
    ConsistencyCheck,
}

/// What the caller did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// More rows than the limit.
    #[error("{found} rows exceed the limit of {max}; split the query")]
    RowsMax {
        /// Rows asked for.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// More words than the limit.
    #[error("{found} words per row exceed the limit of {max}; ask for fewer aggregates or labels")]
    WordsMax {
        /// Words asked for.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A chunk size outside the limits.
    #[error("chunks of {found} bytes are outside {min} to {max}")]
    ChunkBytes {
        /// Bytes asked for.
        found: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// The bits per tree are not 1, 2, 4 or 8.
    #[error("{found} bits per tree; use 1, 2, 4 or 8")]
    FieldBits {
        /// Bits asked for.
        found: u8,
    },
    /// Other than one choice bit per row.
    #[error("{found} choice bits for {expected} rows")]
    ChoiceCount {
        /// Rows of the run.
        expected: usize,
        /// Bits given.
        found: usize,
    },
    /// Other than one column of values per word.
    #[error("{found} columns of values for {expected} words")]
    ColumnCount {
        /// Words of the run.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// A column of values of the wrong length for this chunk.
    #[error("word {word} has {found} values where the chunk has {expected} rows")]
    ValueCount {
        /// Index of the word.
        word: usize,
        /// Rows of the chunk, from `next_rows`.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A column of values of another width than its word.
    #[error("word {word} was given values of another width than agreed")]
    ValueWidth {
        /// Index of the word.
        word: usize,
    },
    /// A step was ended before all its rows were through.
    #[error("{step} was ended with {left} rows to go")]
    Incomplete {
        /// The step.
        step: &'static str,
        /// Rows (in corrections: blocks of rows) that are missing.
        left: usize,
    },
    /// Rows beyond the end were asked for.
    #[error("rows up to {end} were asked for; there are {rows}")]
    RowRange {
        /// End of the range asked for.
        end: usize,
        /// Rows of the run.
        rows: usize,
    },
    /// Two shares of different shape were put together.
    #[error("additive shares of different words do not belong together")]
    ShareShape,
}
