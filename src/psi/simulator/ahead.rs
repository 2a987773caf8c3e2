//! Sessions whose responder has blinded its table before: nobody but a clock can tell.

use arrow::array::{Array, FixedSizeBinaryArray};

use super::grouped::{grouped, part};
use super::spilled::tables;
use super::*;

impl Setting {
    /// Blinds the prepared table, and puts the entries into its memory, as a filter leaves them: other nulls, the same bytes.
    pub(super) fn blinded_ahead(&self, entries: &mut Entries) -> Option<BlindedAhead> {
        let prepared = self.entries(self.ahead.as_ref()?, Vec::new(), 0).identifiers;
        let mut making = BlindingAhead::new(&prepared, ChaCha20Rng::seed_from_u64(self.seed.wrapping_add(1000)));
        while !making.step() {}
        let filtered = prepared.into_iter().zip(&entries.identifiers).map(|(prepared, left)| {
            let (offsets, values, _) = prepared.into_parts();
            LargeBinaryArray::new(offsets, values, left.nulls().cloned())
        });
        entries.identifiers = filtered.collect();
        Some(making.finish().unwrap())
    }

    /// The same, with the responder's table blinded ahead; then a filter empties the entries for which `emptied` says so.
    fn prepared_then_filtered(&self, emptied: impl Fn(usize) -> bool) -> Setting {
        let filtered = self.responder.iter().enumerate().map(|(j, (ids, value))| match emptied(j) {
            true => (vec![None; ids.len()], 0),
            false => (ids.clone(), *value),
        });
        Setting { ahead: Some(self.responder.clone()), responder: filtered.collect(), ..self.clone() }
    }
}

/// All messages of the responder's phase `columns`, column by column.
fn sent(setting: &Setting) -> Vec<Vec<Vec<u8>>> {
    let mut columns = vec![Vec::new(); setting.columns];
    run(setting, &mut |role, phase, _, batch| {
        if (role, phase) == (Role::Responder, Phase::Columns) {
            for (sent, column) in columns.iter_mut().zip(batch.columns()) {
                let elements = column.as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap();
                sent.extend(elements.iter().map(|element| element.unwrap().to_vec()));
            }
        }
        vec![batch]
    })
    .map_err(Failure::error)
    .unwrap();
    columns
}

#[test]
fn answers_are_the_models_for_any_number_of_columns_with_and_without_a_filter() {
    for columns in 1..=8 {
        for emptied in [1, 2, 3, 100] {
            let setting = Setting { fillers: (2, 3), dummies: (2, 4), ..tables(columns, 23, 31) };
            check(&setting.prepared_then_filtered(|j| j % emptied == emptied - 1));
        }
    }
}

#[test]
fn tables_of_several_pieces_and_of_none_work() {
    for (rows, fillers) in [(4095, 1), (4096, 0), (4097, 4096), (8192, 3), (0, 0), (0, 2)] {
        let setting = Setting { fillers: (0, fillers), ..tables(2, 900, rows) };
        check(&setting.prepared_then_filtered(|j| j % 5 == 0));
    }
}

#[test]
fn parts_labels_and_both_work() {
    let parts = [part(5, 0), part(0, 3), part(9, 1), part(3, 0)];
    for columns in 1..=3 {
        for (parts, labels) in [(&[][..], 3), (&parts[..], 0), (&parts[..], 3)] {
            for dummies in [(0, 0), (2, 3)] {
                let setting = Setting { dummies, ..grouped(columns, parts, labels) };
                check(&setting.prepared_then_filtered(|_| false));
                check(&setting.prepared_then_filtered(|j| j % 4 == 1));
            }
        }
    }
}

#[test]
fn columns_of_the_peer_s_may_lie_in_files_meanwhile() {
    let setting = tables(3, 23, 31).prepared_then_filtered(|j| j % 4 == 1);
    let (mut requester, responder) = open(&setting, &mut pass).map_err(Failure::error).unwrap();
    let files = Arc::new(MemoryFiles::sound());
    let mut responder = responder.with_spill(Some(Arc::clone(&files) as _));
    drive(&mut requester, &mut responder, &mut pass).map_err(Failure::error).unwrap();
    assert!(files.written() > 0);
    assert_eq!(requester.into_answer().unwrap().cells, setting.expected().1);
}

#[test]
fn what_travels_has_the_same_shape_with_and_without() {
    let setting = Setting { dummies: (2, 4), fillers: (1, 2), ..tables(3, 40, 4200) };
    let shapes = |setting: &Setting| {
        let mut shapes = Vec::new();
        run(setting, &mut |role, phase, _, batch| {
            // Later columns have as many rows as dummies of both sides happened to leave.
            if phase <= Phase::Tags || phase > Phase::Replies(3) {
                shapes.push((role, phase, batch.num_rows(), batch.schema()));
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        shapes
    };
    let plain = shapes(&setting);
    assert!(plain.iter().any(|(_, phase, ..)| *phase == Phase::Release));
    for emptied in [1, 2, 5000] {
        assert!(shapes(&setting.prepared_then_filtered(|j| j % emptied == emptied - 1)) == plain, "1 of {emptied}");
    }
}

#[test]
fn an_emptied_entry_s_element_is_never_sent_and_every_other_is_what_was_kept() {
    let setting = Setting { dummies: (0, 0), ..tables(2, 12, 500) };
    let whole = sent(&setting.prepared_then_filtered(|_| false));
    // The same scalar, which only a test can have twice.
    let filtered = sent(&setting.prepared_then_filtered(|j| j % 3 == 0));
    for (whole, filtered) in whole.iter().zip(&filtered) {
        let again = filtered.iter().filter(|element| whole.contains(element)).count();
        assert_eq!((filtered.len(), again), (500, 500 - 167));
    }
}

#[test]
fn sessions_share_no_element_whatever_their_tables() {
    // Equal tables, and the same session but for what was blinded ahead.
    let setting = tables(2, 12, 300);
    let first = sent(&setting.prepared_then_filtered(|j| j == 7));
    let second = sent(&Setting { seed: 2, ..setting }.prepared_then_filtered(|j| j == 7));
    let mut all: Vec<&Vec<u8>> = first.iter().chain(&second).flatten().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn what_was_blinded_of_another_table_is_refused_before_anything_is_sent() {
    let setting = tables(2, 5, 9).prepared_then_filtered(|_| false);
    let blinded = |setting: &Setting| {
        let mut entries = setting.entries(&setting.responder, Vec::new(), 0);
        setting.blinded_ahead(&mut entries)
    };
    let fewer = Setting {
        ahead: Some(setting.responder[..8].to_vec()),
        responder: setting.responder[..8].to_vec(),
        ..setting.clone()
    };
    let column = tables(1, 5, 9).prepared_then_filtered(|_| false);
    // Another reading of the same table may have other rows in the same places.
    for other in [fewer, column, setting.clone()] {
        let (_, responder) =
            open(&Setting { ahead: None, ..setting.clone() }, &mut pass).map_err(Failure::error).unwrap();
        let refused = responder.with_ahead(blinded(&other)).err().unwrap();
        assert!(matches!(&refused, Error::Internal(words) if words.contains("another table")), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_two_prepared_tables_give_what_the_model_gives_when_one_was_blinded_before(
        setting in settings(),
        emptied in any::<u8>(),
    ) {
        check(&setting.prepared_then_filtered(|j| emptied >> j & 1 == 1));
    }
}
