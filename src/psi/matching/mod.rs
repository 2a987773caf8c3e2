//! Matching: less-revealing multi-identifier PSI.
//!
//! Notation of the room's doc: the requester A has scalars α₁ … α_K, the responder B β₁ (one is enough). *Own* rows
//! are a side's shuffled table, *peer* rows the other's; each party learns which **peer** rows matched.
//!
//! | phase | A sends | B sends | then |
//! |---|---|---|---|
//! | columns | P = α₁·H(a), K columns | R = β₁·H(b), K columns | each evaluates the other's column 1: A has α₁·R by B's positions, B has β₁·P by A's |
//! | tags | tags of α₁·R, sorted | for each a mark: is it among the tags of β₁·P, and in which part? | B knows which of A's rows matched, A which of B's |
//! | elements-k | tags of α_k·R, unmatched rows, permuted | Q = ρ·P, unmatched rows, permuted, ρ fresh for every row | |
//! | replies-k | κ·Q, κ = α_k/α₁ | marks of A's tags in elements-k | B: tags of (β₁/ρ)·(κ·Q) = α_kβ₁·H(a) by A's position |
//!
//! A mark is 0 for no match, else the number of the *part* of the matched row of A's, from 1: a byte for up to 255
//! parts, two (little-endian) for more. B sends its first mark when A's last row of the phase has come. The later columns
//! have a scalar α_k of their own so that neither side can evaluate rows that have matched before: A does not evaluate
//! them, B cannot.
//!
//! # Parts
//! A query with groups of A's own cuts A's table into parts, each shuffled on its own, one after the other on the wire, with
//! dummies of its own; without such groups there is one. B knows where each part ends (the offer announces it), and so the
//! part of each row of A's that matches: it tells it in the mark, and A has the part of each matched row of B's. All other
//! sequences are of the table as a whole: tags are sorted over all parts, elements and their pads permuted over all. So a
//! size per column *and part* is shown to both, and positions per part: given the sizes, those in a part of A's table are a
//! uniformly random set of its rows (each part has its own permutation), and those of B's table, for all parts together, a
//! uniformly random sequence of disjoint sets (B's permutation is over its whole table, the dummies of all parts in it).
//!
//! How many matches a column has in each part is protected by that part's dummies: emptying an entry of either table changes
//! in each column at most one pair, and so one part's size by 1. Parts compose in parallel, columns one after the other.
//! That there *is* a part, and how many there are, is not hidden from B; how many entries a part has, as A announces it.
//!
//! # What a deviating requester gains: one answer per row
//! What A receives is R, Q and marks. R are elements of B's own choice; under decisional Diffie–Hellman, with H a
//! random oracle, they are random. Q is a one-time pad: the group has prime order and ρ is uniform and fresh for every
//! row, so each is uniform whatever P is ([`Pads`]); P may be chosen after R was seen, and as crookedly as A likes. Marks
//! are one bit for each tag that A has asked for, and it asks for as many as there are rows, all before the first
//! mark. (With parts: one of parts + 1 answers.) So whatever A plants, sends and computes, its view is R, randomness, and
//! an answer "is this tag among those of your unmatched rows, and in which of my parts?" to U tags of its choosing. In
//! particular:
//! - *Related elements* (X and 2·X as two rows, to recognise later what became of them). Where tags of A's own rows came
//!   back, A could compute tag(2·V) for each element V = α_k·R that it holds and look whether it was there, and so which
//!   of its own rows is that of V; sorting the tags, or padding the elements, does not help against that. Now it can ask for
//!   tag(2·V) *instead of* tag(V). It then learns of this position whether its planted row is there, and no longer
//!   whether any other is. Positions are shuffled by B, so asking about one planted row at every position is what a
//!   table of one person asks, and asking about a row of its own at every position finds one of them in the mean: U
//!   questions, each right with probability 1/U. Rows that share a factor make a class, and one column tells of each
//!   position whether it is in the class that it was asked about. Where one identifier stands in several columns, the
//!   answers combine: K of them tell at most 2^K classes of own rows apart (255 single rows for K = 8), at the price of
//!   K columns. All other rows stay unlinked.
//! - *Parts.* Of each tag asked for, A learns also the part of its own row: a class that needs no planting, and that it names
//!   in the offer. A requester that puts single rows of its own into parts of their own learns whose positions they are, if
//!   they match: as an honest one with such groups does, and within what the share allows (`max_parts`); a part of one row
//!   and its dummies has a size that hides the one row, and its cell the whole noise. Combined with an identifier in several
//!   columns the answers tell (parts + 1)^K classes apart in place of 2^K.
//! - *Repeated elements*, the identity, encodings that are not canonical: refused as they arrive, in all K columns, for
//!   every row, matched or not.
//! - *Another κ, a κ for each row, other elements than asked for*: row q of the reply becomes (β₁/ρ_q)·reply, κ_q·P or, for
//!   anything else, an element that A cannot predict. B has permuted Q, so A does not know which of its rows it spoils.
//!   Rows that would have matched do not: A loses. If it makes two of its own rows equal, the session ends; that tells
//!   it, at the price of a charge, that both were unmatched and where it hit.
//!
//! # What a deviating responder gains
//! B holds T = α_kβ₁·H(a) by A's position, and gets the tags of its own rows as a set. If it has planted 2·X beside X, it looks for
//! tag(2·T) in that set and has found which of *its own* rows is that of T. **This is not prevented.** One of the two
//! sides has to show its tags first; it is the requester, which chooses when and what to ask, while the responder
//! answers everybody. (Preventing it takes an oblivious evaluation over a *hash* of the elements that both sides hold:
//! α_k·H'(α₁β₁·H(a)), where no relation is left. With the curve that adds 21 µs for each unmatched row of either side
//! in later columns, and 78 µs per pair of rows in column 1, twice what it takes now.)
//! - *κ as an oracle.* A returns κ·Q for U elements of B's choosing, all of which B sends before the first reply. That is static Diffie–Hellman
//!   with parallel questions: no powers κ², κ³, … (Cheon's attack wants those), and each κ is used in one phase of
//!   one session. α₁ is in all of them, but only κ_k·Q is seen: with x unknown, κ_k is as uniform as α_k. B can
//!   evaluate rows that have matched already, or elements of other columns, in place of those that it should: rows of
//!   *its own choosing*, no more than there are, with the same marks to give. It cannot evaluate its own R (for that it
//!   lacks α₁·H(b)), other than to get the tags that it gets anyway.
//! - *Wrong marks*: a wrong answer for A, nothing for B.
//!
//! # Semi-honest views
//! A's can be written from the matched positions: R and Q uniform, marks as the positions say. B's: P uniform; the
//! asked tags are those of (β₁/ρ)·reply for the matched positions of A's, in a random order, others random; replies
//! uniform. Each follows the room's table.
//!
//! # Memory
//! Peak bytes per row, stage by stage, without what the table itself keeps (identifiers until its own `columns` are sent, 4
//! for the order, 16 per value). A tag with its row takes 16 ([`TagRows`]), and buckets that are not full add at most some
//! hundredths. 2 for the part that it matched go with each peer row from the beginning.
//!
//! | stage | requester, per peer row | per own row | responder, per peer row | per own row |
//! |---|---|---|---|---|
//! | columns | 2, 16 for tags, 32 for each later column | | the same | |
//! | its end | 16 more for the search for repeats, one later column at a time | | the same | |
//! | tags | 2, 16, 32 for each later column | | the same | 2 for marks |
//! | elements-k | 2, 4 for the order if unmatched, 32 for column k and each after it | 32 for Q | 2, 4, 32 likewise | 16 for the asked tags |
//! | its end | | 16 more for the search for repeats | | |
//! | replies-k | 2, 4, 32 likewise | 32 | 2, 4, 32 likewise; 32 for the replies' tags and the search for repeats | 16, and 2 for marks |
//!
//! With a [`Spill`], each 32 of this table but those of the replies' tags lies in a file: later columns from their first
//! batch on, padded elements likewise, one file each, deleted with the column. What is read again is read by the batch; the
//! messages are the same bytes.
//!
//! Own rows are those unmatched, in later columns. For one identifier that is 18 per peer row and 2 per own one; each
//! further one adds 32 per peer row, and the first of them at most 20 more, and 32 per own row. Columns have room for the
//! whole of what was announced once an eighth of it has come, and are not copied after that. A peer whose tags, or elements, have been
//! chosen to share their first bits, or are all the same, can bring the sort of them to another 16 ([`TagRows`]).
//! The batches of one call, and what was computed of those of the call before (`frames`), come on top: as many as the
//! caller gives at once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use zeroize::Zeroizing;

use crate::crypto::{
    ChaCha20Rng, InvalidElement, InvalidEncoding, Pads, RepeatCheck, SecretScalar, SortedTagRows, TagColumn, TagCursor,
    TagRows, blind_draws, evaluate, evaluate_tags_of_rows, pad_rows, shuffle,
};

use super::frame::{Inbound, Outbound, binary_column};
use super::spill::Spill;
use super::table::{PartRows, WireTable};
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

mod frames;
mod kept;
mod tag;
#[cfg(test)]
mod tests;
mod wire;

use frames::{ColumnsFrame, Draws, Frame, RepliesFrame, compute_beside, elements, side_by_side};
use kept::{GrowingColumn, KeptColumn};
pub use tag::tag_bytes;
use tag::{Tag, bytes_of, tag_number, tag_rows};
pub use wire::matching_bytes;
use wire::{columns_schema, element_schema, mark_array, mark_schema, note_marks, tag_array, tag_schema};

/// What matching found, for this party.
pub(crate) struct Matches {
    /// This side's table; its identifiers are gone.
    pub(crate) table: WireTable,
    /// Which peer rows matched, by position in the peer's shuffled table: the number of the requester's part on either end
    /// of the pair, 0 for none.
    pub(crate) peer_rows_matched: Zeroizing<Vec<u16>>,
}

/// The running machine.
pub(crate) struct Matching {
    role: Role,
    table: WireTable,
    part_rows: PartRows,
    scalars: Vec<SecretScalar>,
    tag_bytes: usize,
    rng: ChaCha20Rng,
    /// The peer's columns 2..K, blinded by its first scalar, as received and checked.
    peer_columns: Vec<KeptColumn>,
    /// Where they are kept; `None` is memory.
    spill: Option<Arc<dyn Spill>>,
    /// By the peer's position: the part on the requester's end, 0 for unmatched.
    matched: Zeroizing<Vec<u16>>,
    sizes: Vec<u64>,
    out_schema: SchemaRef,
    outbound: Outbound,
    inbound: Inbound,
    stage: Stage,
}

/// `Ask` is the requester's half of a phase, `Mark` the responder's.
enum Stage {
    Columns {
        /// The peer's columns 2..K so far.
        later: Vec<GrowingColumn>,
        /// Tags of its column 1, by its position.
        tags: TagRows,
        /// Frames that are not yet among both.
        fresh: Vec<ColumnsFrame>,
    },
    AskTags {
        /// The peer's rows by ascending tag.
        asked: SortedTagRows,
    },
    MarkTags {
        /// The peer's rows, looked for by its ascending tags.
        rows: TagCursor,
        last: Option<Tag>,
        marks: Zeroizing<Vec<u16>>,
    },
    AskElements {
        k: u8,
        /// The unmatched peer rows in the order in which their tags are sent.
        asked: Zeroizing<Vec<u32>>,
        /// Padded elements of own rows, as received.
        padded: GrowingColumn,
    },
    MarkElements {
        k: u8,
        /// The unmatched peer rows in the order in which they are sent.
        sent: Zeroizing<Vec<u32>>,
        pads: Pads,
        /// The tags asked for, by their place.
        asked: TagRows,
    },
    AskReplies {
        k: u8,
        asked: Zeroizing<Vec<u32>>,
        padded: KeptColumn,
        quotient: SecretScalar,
    },
    MarkReplies {
        k: u8,
        sent: Zeroizing<Vec<u32>>,
        pads: Pads,
        repeats: RepeatCheck,
        /// Until all replies are there.
        replies: Option<Replies>,
        /// Of these, frames that are not yet among them.
        fresh: Vec<RepliesFrame>,
        /// From then on.
        marks: Zeroizing<Vec<u16>>,
    },
    Finished,
}

/// What is compared in a later column.
struct Replies {
    /// The tags asked for, by their place.
    asked: TagRows,
    /// Tags of the peer's rows.
    tags: TagRows,
}

impl Matching {
    /// Opens the phase `columns`. `peer_rows` counts the peer's dummies too; `part_rows` are the parts of the requester's
    /// table, whichever side this is. With a `spill`, what would be kept of the peer's later columns lies there.
    pub(crate) fn new(
        role: Role,
        mut table: WireTable,
        peer_rows: u64,
        part_rows: PartRows,
        spill: Option<Arc<dyn Spill>>,
        mut rng: ChaCha20Rng,
    ) -> Result<Self, Error> {
        let columns = table.columns();
        let own_rows = table.rows() as u64;
        let schema = columns_schema(columns);
        let tag_bytes = tag_bytes(own_rows, peer_rows, columns).into();
        let tags = tag_rows(tag_bytes, peer_rows);
        let later = (1..columns).map(|_| GrowingColumn::new(spill.as_ref(), peer_rows));
        let stage = Stage::Columns { later: later.collect::<Result<_, Error>>()?, tags, fresh: Vec::new() };
        let mut scalars = vec![table.first_scalar(&mut rng)];
        scalars.extend((1..columns).map(|_| SecretScalar::random(&mut rng)));
        Ok(Matching {
            role,
            scalars,
            tag_bytes,
            rng,
            peer_columns: Vec::new(),
            spill,
            matched: Zeroizing::new(vec![0; peer_rows as usize]),
            sizes: Vec::with_capacity(columns * part_rows.parts()),
            out_schema: Arc::clone(&schema),
            outbound: Outbound::new(own_rows),
            inbound: Inbound::new(Phase::Columns, schema, peer_rows),
            stage,
            table,
            part_rows,
        })
    }

    /// The phase that is open; `None` once all columns have been matched.
    pub(crate) fn phase(&self) -> Option<Phase> {
        match self.stage {
            Stage::Columns { .. } => Some(Phase::Columns),
            Stage::AskTags { .. } | Stage::MarkTags { .. } => Some(Phase::Tags),
            Stage::AskElements { k, .. } | Stage::MarkElements { k, .. } => Some(Phase::Elements(k)),
            Stage::AskReplies { k, .. } | Stage::MarkReplies { k, .. } => Some(Phase::Replies(k)),
            Stage::Finished => None,
        }
    }

    /// The noisy number of matches of each column and part, as far as columns have been matched.
    pub(crate) fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        (Arc::clone(&self.out_schema), Arc::clone(self.inbound.schema()))
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            rows_done: self.outbound.sent() + self.inbound.seen(),
            rows_total: self.outbound.total() + self.inbound.total(),
        }
    }

    /// Computes and cuts the next batches, `most` at most, side by side.
    pub(crate) fn poll_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        let marks = matches!(self.stage, Stage::MarkTags { .. } | Stage::MarkReplies { .. });
        // Not one answer before the last question.
        if marks && !self.inbound.is_ended() && !self.outbound.is_done() {
            return Ok(vec![Output::Wait]);
        }
        let blinds = matches!(self.stage, Stage::Columns { .. });
        let mut frames = Vec::with_capacity(most);
        while frames.len() < most
            && let Some(rows) = self.outbound.next_rows()
        {
            let draws = blinds.then(|| Draws::set_apart(&mut self.rng, self.table.columns() * blind_draws(rows.len())));
            frames.push((rows, draws));
        }
        let ended = frames.len() < most;
        let mut outputs = Vec::with_capacity(most);
        for columns in side_by_side(frames, |(rows, draws)| self.frame(rows, draws))? {
            let batch = RecordBatch::try_new(Arc::clone(&self.out_schema), columns).map_err(Error::internal)?;
            outputs.push(Output::Batch(batch));
        }
        if ended {
            if blinds {
                self.table.forget_identifiers();
            }
            outputs.push(Output::Done);
        }
        Ok(outputs)
    }

    /// The columns of one batch.
    fn frame(&self, rows: Range<usize>, draws: Option<Draws>) -> Result<Vec<ArrayRef>, Error> {
        Ok(match &self.stage {
            Stage::Columns { .. } => {
                let mut draws = draws.ok_or_else(|| Error::internal("a frame to blind has nothing to draw from"))?;
                let blinded = |column| self.table.blind(column, rows.clone(), &self.scalars[0], draws.rng());
                let columns =
                    (0..self.table.columns()).map(blinded).map(|column| Arc::new(column.into_array()) as ArrayRef);
                let columns = columns.collect();
                draws.all_drawn()?;
                columns
            }
            Stage::AskTags { asked } => {
                let tags = bytes_of(asked.range(rows).map(|(tag, _)| tag), self.tag_bytes);
                vec![tag_array(TagColumn::from_bytes(tags, self.tag_bytes).map_err(Error::internal)?)]
            }
            Stage::AskElements { k, asked, .. } => {
                let column = usize::from(*k) - 1;
                let elements = &self.peer_columns[column - 1];
                let (held, rows) = elements.picked(&asked[rows])?;
                let tags = evaluate_tags_of_rows(&held, &rows, &self.scalars[column], self.tag_bytes)
                    .map_err(|invalid| elements.spoilt(invalid))?;
                vec![tag_array(tags)]
            }
            Stage::MarkElements { k, sent, pads, .. } => {
                let elements = &self.peer_columns[usize::from(*k) - 2];
                let first_pad = rows.start;
                let (held, rows) = elements.picked(&sent[rows])?;
                let padded = pad_rows(&held, &rows, pads, first_pad).map_err(|invalid| elements.spoilt(invalid))?;
                vec![Arc::new(padded.into_array())]
            }
            Stage::AskReplies { k, padded, quotient, .. } => {
                let first_row = rows.start as u64;
                let evaluated = evaluate(&padded.slice(rows)?, quotient)
                    .map_err(|invalid| element_error(Phase::Elements(*k), *k, first_row, invalid))?;
                vec![Arc::new(evaluated.into_array())]
            }
            Stage::MarkTags { marks, .. } | Stage::MarkReplies { marks, .. } => {
                vec![mark_array(&marks[rows], self.part_rows.parts())]
            }
            Stage::Finished => return Err(Error::internal("a batch after the last phase of the matching")),
        })
    }

    /// Takes batches of the peer's, in their order.
    pub(crate) fn receive_all(&mut self, batches: &[RecordBatch]) -> Result<(), Error> {
        let mut frames = Vec::with_capacity(batches.len());
        let mut refused = None;
        for batch in batches {
            match self.inbound.accept(batch) {
                Ok(rows) => frames.push((rows, batch)),
                Err(reason) => {
                    refused = Some(reason);
                    break;
                }
            }
        }
        self.take(&frames)?;
        // What is wrong with those before it is said first.
        refused.map_or(Ok(()), |reason| Err(reason.into()))
    }

    fn take(&mut self, frames: &[Frame<'_>]) -> Result<(), Error> {
        let (scalar, tag_bytes) = (&self.scalars[0], self.tag_bytes);
        match &mut self.stage {
            Stage::Columns { later, tags, fresh } => {
                let due = std::mem::take(fresh);
                let compute = |frame: &Frame<'_>| ColumnsFrame::compute(frame, scalar, tag_bytes);
                *fresh = compute_beside(due, |frame| frame.take_up(tags, later), frames, compute)?;
                Ok(())
            }
            Stage::MarkReplies { k, sent, pads, repeats, replies: Some(Replies { tags, .. }), fresh, .. } => {
                let due = std::mem::take(fresh);
                let take_up = |frame: RepliesFrame| {
                    frame.take_up(repeats, tags, sent);
                    Ok(())
                };
                let compute = |frame: &Frame<'_>| RepliesFrame::compute(frame, *k, scalar, pads, tag_bytes);
                *fresh = compute_beside(due, take_up, frames, compute)?;
                Ok(())
            }
            // Without curve work: one after the other.
            _ => frames.iter().try_for_each(|frame| self.note(frame)),
        }
    }

    fn note(&mut self, (rows, batch): &Frame<'_>) -> Result<(), Error> {
        let (column, rows) = (binary_column(batch, 0)?, rows.clone());
        match &mut self.stage {
            Stage::MarkTags { rows: peer_rows, last, marks } => {
                let tags = TagColumn::try_from_array(column, self.tag_bytes).map_err(Error::internal)?;
                for (row, tag) in (rows.start as u64..).zip(tags.tags().map(tag_number)) {
                    if last.is_some_and(|last| last >= tag) {
                        return Err(PeerMisbehaved::TagOrder { phase: Phase::Tags, row }.into());
                    }
                    *last = Some(tag);
                    marks.push(mark_of(peer_rows.find(tag), &self.part_rows, &mut self.matched));
                }
            }
            Stage::AskTags { asked } => {
                let asked = asked.range(rows).map(|(_, peer_row)| peer_row);
                note_marks(column, Phase::Tags, self.part_rows.parts(), asked, &mut self.matched)?;
            }
            Stage::AskReplies { k, asked, .. } => {
                let asked = asked[rows].iter().copied();
                note_marks(column, Phase::Replies(*k), self.part_rows.parts(), asked, &mut self.matched)?;
            }
            Stage::AskElements { padded, .. } => padded.push(&elements(batch, 0)?)?,
            Stage::MarkElements { asked, .. } => {
                let tags = TagColumn::try_from_array(column, self.tag_bytes).map_err(Error::internal)?;
                let places = rows.start as u32..;
                tags.tags().map(tag_number).zip(places).for_each(|(tag, place)| asked.push(tag, place));
            }
            Stage::MarkReplies { .. } => return Err(Error::internal("a reply after they were compared")),
            Stage::Columns { .. } | Stage::Finished => {
                return Err(Error::internal("a batch that no phase of the matching takes"));
            }
        }
        Ok(())
    }

    /// The peer ended its direction: the last of what it sent is taken up, and replies are compared.
    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        self.inbound.end()?;
        if let Stage::Columns { later, tags, fresh } = &mut self.stage {
            return std::mem::take(fresh).into_iter().try_for_each(|frame| frame.take_up(tags, later));
        }
        self.compare_replies()
    }

    /// Whether both directions have ended.
    pub(crate) fn phase_ended(&self) -> bool {
        self.outbound.is_done() && self.inbound.is_ended()
    }

    /// Closes the open phase and opens the next one.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Columns { later, tags, .. } => self.open_tags(later, tags)?,
            Stage::AskTags { .. } | Stage::MarkTags { .. } => self.close_column(1)?,
            Stage::AskElements { k, asked, padded } => {
                let padded = padded.finish()?;
                check_repeats(padded.repeats()?, Phase::Elements(k), k)?;
                let quotient = self.scalars[usize::from(k) - 1].quotient(&self.scalars[0]);
                let (own, peer) = (padded.len() as u64, asked.len() as u64);
                self.stage = Stage::AskReplies { k, asked, padded, quotient };
                self.open(Phase::Replies(k), (element_schema(), own), (mark_schema(self.part_rows.parts()), peer));
            }
            Stage::MarkElements { k, sent, pads, asked } => {
                let (own, peer) = (asked.len() as u64, sent.len() as u64);
                let repeats = RepeatCheck::with_capacity(sent.len() as u32);
                let replies = Some(Replies { asked, tags: tag_rows(self.tag_bytes, peer) });
                let (fresh, marks) = (Vec::new(), Zeroizing::default());
                self.stage = Stage::MarkReplies { k, sent, pads, repeats, replies, fresh, marks };
                self.open(Phase::Replies(k), (mark_schema(self.part_rows.parts()), own), (element_schema(), peer));
            }
            Stage::AskReplies { k, .. } | Stage::MarkReplies { k, .. } => self.close_column(k)?,
            Stage::Finished => return Err(Error::internal("the matching has no phase to close")),
        }
        Ok(())
    }

    fn open(&mut self, phase: Phase, out: (SchemaRef, u64), inbound: (SchemaRef, u64)) {
        self.out_schema = out.0;
        self.outbound = Outbound::new(out.1);
        self.inbound = Inbound::new(phase, inbound.0, inbound.1);
    }

    fn open_tags(&mut self, later: Vec<GrowingColumn>, tags: TagRows) -> Result<(), Error> {
        self.table.forget_identifiers();
        for (elements, column) in later.into_iter().zip(2u8..) {
            let elements = elements.finish()?;
            check_repeats(elements.repeats()?, Phase::Columns, column)?;
            self.peer_columns.push(elements);
        }
        let (own_rows, peer_rows) = (self.table.rows() as u64, tags.len() as u64);
        let repeated = PeerMisbehaved::RepeatedElement { phase: Phase::Columns, column: 1 };
        let tags = tags.sort().map_err(|_| repeated)?;
        let tag_schema = tag_schema(self.tag_bytes);
        match self.role {
            Role::Requester => {
                self.open(Phase::Tags, (tag_schema, peer_rows), (mark_schema(self.part_rows.parts()), peer_rows));
                self.stage = Stage::AskTags { asked: tags };
            }
            Role::Responder => {
                self.open(Phase::Tags, (mark_schema(self.part_rows.parts()), own_rows), (tag_schema, own_rows));
                let marks = Zeroizing::new(Vec::with_capacity(own_rows as usize));
                self.stage = Stage::MarkTags { rows: tags.cursor(), last: None, marks };
            }
        }
        Ok(())
    }

    /// The responder's comparison of a later column, once all replies are there.
    fn compare_replies(&mut self) -> Result<(), Error> {
        let Stage::MarkReplies { k, sent, repeats, replies, fresh, marks, .. } = &mut self.stage else { return Ok(()) };
        let Some(Replies { asked, mut tags }) = replies.take() else { return Ok(()) };
        std::mem::take(fresh).into_iter().for_each(|frame| frame.take_up(repeats, &mut tags, sent));
        let (phase, column) = (Phase::Replies(*k), *k);
        check_repeats(std::mem::replace(repeats, RepeatCheck::with_capacity(0)), phase, column)?;
        let mut rows = tags.sort().map_err(|_| PeerMisbehaved::RepeatedElement { phase, column })?.cursor();
        let reason = || "the same tag occurs twice".to_owned();
        let asked = asked
            .sort()
            .map_err(|_| PeerMisbehaved::Inconsistent { phase: Phase::Elements(column), reason: reason() })?;
        *marks = Zeroizing::new(vec![0; asked.len()]);
        for (tag, place) in asked.range(0..asked.len()) {
            marks[place as usize] = mark_of(rows.find(tag), &self.part_rows, &mut self.matched);
        }
        Ok(())
    }

    /// Counts the matches of column `k`, part by part, and opens the next column's phase, if there is one.
    fn close_column(&mut self, k: u8) -> Result<(), Error> {
        let mut matched = vec![0u64; self.part_rows.parts()];
        for part in self.matched.iter().filter(|part| **part > 0) {
            matched[usize::from(*part) - 1] += 1;
        }
        let own_unmatched = (self.table.rows() as u64).checked_sub(matched.iter().sum());
        // The responder has found its matches itself, each in a row of its part.
        let fits = self.part_rows.ranges().zip(&matched).all(|(rows, matched)| *matched <= rows.len() as u64);
        let Some(own_unmatched) = own_unmatched.filter(|_| fits) else {
            let phase = if k == 1 { Phase::Tags } else { Phase::Replies(k) };
            let reason = "more matches than this side has entries".to_owned();
            return Err(PeerMisbehaved::Inconsistent { phase, reason }.into());
        };
        let before = |part: usize| self.sizes.iter().skip(part).step_by(matched.len()).sum::<u64>();
        let sizes: Vec<u64> = matched.iter().enumerate().map(|(part, matched)| matched - before(part)).collect();
        self.sizes.extend(sizes);
        if usize::from(k) == self.table.columns() {
            self.peer_columns.clear();
            return Ok(());
        }
        if k >= 2 {
            // Column k of the peer is not needed again.
            self.peer_columns[usize::from(k) - 2] = KeptColumn::empty();
        }
        let k = k + 1;
        // Exactly as many: what a vector leaves when it grows is not wiped.
        let mut shuffled = Zeroizing::new(Vec::with_capacity(self.matched.iter().filter(|part| **part == 0).count()));
        shuffled.extend((0..).zip(self.matched.iter()).filter(|(_, part)| **part == 0).map(|(row, _): (u32, _)| row));
        shuffle(&mut shuffled, &mut self.rng);
        let (phase, peer_unmatched) = (Phase::Elements(k), shuffled.len() as u64);
        let tag_schema = tag_schema(self.tag_bytes);
        match self.role {
            Role::Requester => {
                self.open(phase, (tag_schema, peer_unmatched), (element_schema(), own_unmatched));
                let padded = GrowingColumn::new(self.spill.as_ref(), own_unmatched)?;
                self.stage = Stage::AskElements { k, asked: shuffled, padded };
            }
            Role::Responder => {
                self.open(phase, (element_schema(), peer_unmatched), (tag_schema, own_unmatched));
                let pads = Pads::random(&mut self.rng);
                self.stage =
                    Stage::MarkElements { k, sent: shuffled, pads, asked: tag_rows(self.tag_bytes, own_unmatched) };
            }
        }
        Ok(())
    }

    /// What was found. Only after the last phase.
    pub(crate) fn finish(self) -> Matches {
        Matches { table: self.table, peer_rows_matched: self.matched }
    }
}

/// Notes what was found for one tag, and marks it.
fn mark_of(found: Option<u32>, part_rows: &PartRows, matched: &mut [u16]) -> u16 {
    let Some(peer_row) = found else { return 0 };
    let part = part_rows.part_of(peer_row);
    matched[peer_row as usize] = part;
    part
}

fn check_repeats(repeats: RepeatCheck, phase: Phase, column: u8) -> Result<(), PeerMisbehaved> {
    repeats.finish().map_err(|_| PeerMisbehaved::RepeatedElement { phase, column })
}

fn element_error(phase: Phase, column: u8, first_row: u64, invalid: InvalidElement) -> Error {
    let reason = match invalid.reason {
        InvalidEncoding::NotCanonical => "not the canonical encoding of a group element",
        InvalidEncoding::Identity => "the identity element",
    };
    PeerMisbehaved::Element { phase, row: first_row + invalid.row as u64, column, reason }.into()
}
