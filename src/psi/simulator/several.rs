//! Sessions that are asked for several batches at once, and given several: nobody can tell, by any byte or by any error.

use arrow::array::{Array, FixedSizeBinaryArray};

use super::*;

type Messages = Vec<(Role, Phase, RecordBatch)>;

/// Moves a direction's batches by that many at once; true once it has ended.
fn carry_several(
    from: &mut dyn Session,
    to: &mut dyn Session,
    most: usize,
    messages: &mut Messages,
    change: &mut dyn FnMut(&mut Vec<RecordBatch>, Phase),
) -> Result<bool, Error> {
    loop {
        let (mut batches, mut last) = (Vec::new(), None);
        let outputs = from.poll_outputs(most)?;
        assert!((1..=most).contains(&outputs.len()), "{} outputs of {most}", outputs.len());
        for output in outputs {
            assert!(last.is_none(), "an output behind the last");
            match output {
                Output::Batch(batch) => batches.push(batch),
                other => last = Some(matches!(other, Output::Done)),
            }
        }
        let phase = from.phase().unwrap();
        messages.extend(batches.iter().map(|batch| (from.role(), phase, batch.clone())));
        change(&mut batches, phase);
        to.receive_all(batches)?;
        match last {
            None => {}
            Some(false) => return Ok(false),
            Some(true) => return to.end_input().map(|()| true),
        }
    }
}

/// A run by `most` batches at once: its messages, and how it ended.
fn observed(
    setting: &Setting,
    most: usize,
    spilled: bool,
    mut change: impl FnMut(&mut Vec<RecordBatch>, Phase),
) -> (Messages, Result<Answered, Error>) {
    let files = || spilled.then(|| Arc::new(MemoryFiles::sound()) as Arc<dyn Spill>);
    let (found, mut messages) = (files(), Vec::new());
    let mut requester = setting.requester().unwrap().with_room(Box::new(move |_| Ok(found)));
    let Ok(Output::Batch(offer)) = requester.poll_output() else { panic!("no offer") };
    let mut responder = setting.responder(&Offer::from_batch(&offer).unwrap()).unwrap().with_spill(files());
    let mut run = || -> Result<(), Error> {
        while requester.phase().is_some() {
            let (mut up, mut down) = (false, false);
            while !(up && down) {
                up = up || carry_several(&mut requester, &mut responder, most, &mut messages, &mut change)?;
                down = down || carry_several(&mut responder, &mut requester, most, &mut messages, &mut change)?;
            }
            requester.advance()?;
            responder.advance()?;
        }
        Ok(())
    };
    let ended = run();
    (messages, ended.and_then(|()| requester.into_answer()))
}

/// Tables of several batches, of which some rows match in each column.
fn setting(columns: usize) -> Setting {
    let table = |side: &str, rows: usize| -> Rows {
        let id = |k: usize, i: usize| match i % (columns + 2) {
            common if common == k => format!("common-{k}-{i}"),
            _ => format!("{side}-{k}-{i}"),
        };
        (0..rows).map(|i| ((0..columns).map(|k| Some(id(k, i))).collect(), i as i128 % 50)).collect()
    };
    let whole = Setting::new(columns, table("a", 2 * FRAME_ROWS as usize), table("b", 2 * FRAME_ROWS as usize + 300));
    // One filler and the dummies make the requester's last batch one of a few rows.
    Setting { fillers: (1, 0), dummies: (2, 4), own_sum: false, ..whole }
}

#[test]
fn what_travels_is_the_same_however_many_batches_are_computed_at_once() {
    for (columns, spilled) in [(1, false), (2, false), (3, true)] {
        let setting = setting(columns);
        let (one_by_one, answered) = observed(&setting, 1, false, |_, _| ());
        for most in [2, 4, 7] {
            let (several, again) = observed(&setting, most, spilled, |_, _| ());
            // Whose turn it is may differ; what a side sends in a phase does not.
            for role in [Role::Requester, Role::Responder] {
                let of = |messages: &Messages| -> Messages {
                    messages.iter().filter(|(from, ..)| *from == role).cloned().collect()
                };
                assert!(of(&one_by_one) == of(&several), "{columns} columns by {most}: {role:?} says something else");
            }
            assert_eq!(again, answered);
        }
        assert!(answered.is_ok());
    }
}

#[test]
fn the_error_is_the_first_in_the_batches_order_however_many_come_at_once() {
    /// The `row`-th element of a column is no element any more.
    fn spoil(batch: &mut RecordBatch, column: usize, row: usize) {
        let mut columns = batch.columns().to_vec();
        let array = columns[column].as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap();
        let mut bytes: Vec<u8> = array.values()[..32 * array.len()].to_vec();
        bytes[32 * row..][..32].fill(0xff);
        columns[column] = Arc::new(FixedSizeBinaryArray::new(32, bytes.into(), None));
        *batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    }
    let frame = FRAME_ROWS as usize;
    type Change = fn(usize, &mut RecordBatch);
    let cases: [(Change, &str); 4] = [
        // In a later batch's first column, in an earlier one's second.
        (
            |at, batch| {
                if at < 2 {
                    spoil(batch, 1 - at, 40 - at)
                }
            },
            "row 40",
        ),
        // A batch of another size behind one with a wrong element, and before one.
        (|at, batch| if at == 1 { *batch = batch.slice(0, 7) } else { spoil(batch, 0, at) }, "row 0"),
        (|at, batch| if at == 0 { *batch = batch.slice(0, 7) } else { spoil(batch, 0, 0) }, "7"),
        (
            |at, batch| {
                if at == 1 {
                    spoil(batch, 0, 9)
                }
            },
            "row 4105",
        ),
    ];
    assert_eq!(frame, 4096, "the rows that the cases name");
    for (case, (change, words)) in cases.into_iter().enumerate() {
        let mut outcomes = [1, 2, 3].map(|most| {
            let mut at = 0;
            let (_, ended) = observed(&setting(2), most, false, |batches, phase| {
                for batch in batches.iter_mut().filter(|_| phase == Phase::Columns) {
                    change(at, batch);
                    at += 1;
                }
            });
            ended.unwrap_err()
        });
        assert!(outcomes[0].to_string().contains(words), "case {case}: {}", outcomes[0]);
        outcomes.sort_by_key(ToString::to_string);
        assert_eq!(outcomes[0], outcomes[2], "case {case}");
    }
}
