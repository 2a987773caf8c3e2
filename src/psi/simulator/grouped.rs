//! Parts and labels: whole sessions against the model, and what a peer can do to what is grouped.

use arrow::array::{Array, FixedSizeBinaryArray};

use super::*;

pub(super) fn part(persons: usize, fillers: u64) -> EntryPart {
    EntryPart { persons, fillers }
}

/// `rows` persons with two identifiers each, from number `from` on.
fn people(from: usize, rows: usize, columns: usize) -> Rows {
    let identifier = |i: usize, k: usize| (i % (k + 3) != 1).then(|| format!("{k}-{}", i ^ (k & 1)));
    (from..from + rows).map(|i| ((0..columns).map(|k| identifier(i, k)).collect(), i as i128)).collect()
}

pub(super) fn grouped(columns: usize, parts: &[EntryPart], labels: usize) -> Setting {
    let persons = parts.iter().map(|part| part.persons).sum();
    Setting {
        own_sum: labels == 0,
        parts: parts.to_vec(),
        labels,
        ..Setting::new(columns, people(0, if parts.is_empty() { 17 } else { persons }, columns), people(4, 13, columns))
    }
}

#[test]
fn cells_of_parts_labels_and_both_are_those_of_the_model() {
    let parts = [part(5, 0), part(0, 3), part(9, 1), part(3, 0)];
    for columns in 1..=3 {
        for (parts, labels) in [(&[][..], 3), (&parts[..], 0), (&parts[..], 3), (&parts[1..2], 0), (&parts[..1], 1)] {
            for (dummies, seed) in [((0, 0), 1), ((2, 3), 2)] {
                check(&Setting { dummies, seed, ..grouped(columns, parts, labels) });
            }
        }
    }
}

#[test]
fn an_offer_tells_its_persons_by_part_and_an_answer_its_labels() {
    let setting = grouped(2, &[part(5, 0), part(0, 3), part(9, 1)], 4);
    let (requester, _) = open(&setting, &mut pass).map_err(Failure::error).unwrap();
    let mut hellos = Vec::new();
    drop(requester);
    run(&setting, &mut |role, phase, _, batch| {
        if phase == Phase::Hello {
            hellos.push((role, batch.clone()));
        }
        vec![batch]
    })
    .map_err(Failure::error)
    .unwrap();
    let offer = Offer::from_batch(&hellos[0].1).unwrap();
    assert_eq!((offer.persons.clone(), offer.persons_total()), (vec![5, 3, 10], 18));
    assert!(offer.question.own_groups && offer.question.group_by.as_deref() == Some("category"));
    let answer = crate::psi::hello::Answer::from_batch(&hellos[1].1).unwrap();
    assert_eq!(answer.labels, ["label 0", "label 1", "label 2", "label 3"]);
}

#[test]
fn more_than_255_parts_take_marks_of_two_bytes_and_less_of_one() {
    for (parts, width) in [(255, 1), (256, 2), (300, 2)] {
        // Some persons in the first, the 255th and the last part.
        let persons = |number: usize| 6 * usize::from(number == 0 || number == 254 || number + 1 == parts);
        let all: Vec<EntryPart> = (0..parts).map(|number| part(persons(number), 0)).collect();
        let setting = Setting { dummies: (0, 0), ..grouped(2, &all, 0) };
        let mut widths = Vec::new();
        let (mut requester, mut responder) = open(&setting, &mut pass).map_err(Failure::error).unwrap();
        // As far as the oblivious transfer, which takes its time for each part.
        let cut = drive(&mut requester, &mut responder, &mut |role, phase, _, batch| {
            if role == Role::Responder && matches!(phase, Phase::Tags | Phase::Replies(_)) {
                let marks = batch.column(0).as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap();
                widths.push(marks.value_length());
            }
            if phase == Phase::OtChoices { Vec::new() } else { vec![batch] }
        });
        assert!(cut.is_err());
        assert!(!widths.is_empty() && widths.iter().all(|found| *found == width), "{parts}: {widths:?}");
        let sizes = setting.expected().0;
        assert!(sizes[parts - 1] + sizes[2 * parts - 1] > 0, "the last part has no match");
        assert_eq!((requester.sizes(), responder.sizes()), (&sizes[..], &sizes[..]));
    }
}

#[test]
fn the_minimum_takes_the_dummies_of_every_part_off() {
    let rows: Rows = (0..20).map(|i| person(&[&format!("p{i}")], i)).collect();
    let parts = vec![part(8, 0), part(12, 0), part(0, 0)];
    let exact = Setting { parts: parts.clone(), dummies: (0, 0), ..Setting::new(1, rows.clone(), rows.clone()) };
    check(&Setting { minimum_matched: 20, ..exact.clone() });
    let refused = run(&Setting { minimum_matched: 21, ..exact.clone() }, &mut pass);
    assert!(matches!(refused, Err(Failure::Responder(Error::Refused(_)))));
    // The estimate is Σ sizes − parts·K·τ/2, whatever the dummies' overlap was.
    for seed in 0..6 {
        let noisy = Setting { dummies: (6, 6), seed, ..exact.clone() };
        let (answered, _) = run(&noisy, &mut pass).map_err(Failure::error).unwrap();
        let doubled = 2 * answered.sizes.iter().sum::<u64>() - 3 * 6;
        for (minimum_matched, met) in [(doubled / 2, true), (doubled / 2 + 1, false)] {
            assert_eq!(run(&Setting { minimum_matched, ..noisy.clone() }, &mut pass).is_ok(), met, "seed {seed}");
        }
    }
}

#[test]
fn every_cell_has_noise_of_its_own_from_the_responder_alone() {
    let noise: Noise = "laplace 7/2".parse().unwrap();
    let setting = Setting { noise, ..grouped(1, &[part(9, 0), part(8, 0)], 3) };
    let (answered, _) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(setting.seed ^ u64::MAX);
    rand_core::Rng::fill_bytes(&mut rng, &mut [0; 32]);
    let mut noisy = setting.expected().1;
    let mut drawn = std::collections::BTreeSet::new();
    for word in noisy.iter_mut().flatten() {
        let noise = setting.noise.sample(&mut rng);
        drawn.insert(noise);
        *word += noise;
    }
    assert_eq!(answered.cells, noisy);
    assert!(drawn.len() > 3, "{drawn:?}");
}

#[test]
fn a_receipt_has_a_size_for_each_column_and_part() {
    let setting = Setting { keys: Some(Keys::HONEST), ..grouped(2, &[part(9, 0), part(5, 2), part(3, 0)], 2) };
    let (answered, outcome) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
    let (requester, responder) = (answered.receipt.unwrap(), outcome.receipt.unwrap());
    assert_eq!(requester.text, responder.text);
    let receipt = Receipt::parse(&requester.text).unwrap();
    assert_eq!((receipt.sizes().len(), receipt.sizes()), (6, &answered.sizes[..]));
    assert!(requester.text.contains(&format!("\nsize 2 1 {}\n", answered.sizes[3])), "{}", requester.text);
    let moved = requester.text.replacen("size 1 3 ", "size 1 2 ", 1);
    assert!(Receipt::parse(&moved).is_err());
}

#[test]
fn a_mark_of_a_part_that_is_none_or_of_one_that_is_full_is_refused() {
    let setting = Setting { dummies: (0, 0), ..grouped(2, &[part(1, 0), part(16, 0), part(0, 0)], 0) };
    for phase in [Phase::Tags, Phase::Replies(2)] {
        for (mark, what) in [
            (4u8, "names none of the 3 parts"),
            (255, "names none of the 3 parts"),
            (1, "more matches than this side has entries"),
            (3, "more matches than this side has entries"),
        ] {
            let failure = run(&setting, &mut |role, p, _, batch| {
                if (role, p) != (Role::Responder, phase) {
                    return vec![batch];
                }
                vec![(0..3).fold(batch, |batch, row| replaced(&batch, 0, row, Some(&[mark])))]
            });
            let Err(Failure::Requester(error)) = failure else { panic!("{mark} in {phase} went unnoticed") };
            assert!(error.to_string().contains(what) && error.fault() == Fault::Peer, "{mark} in {phase}: {error}");
        }
    }
}

#[test]
fn a_mark_of_another_part_moves_a_person_between_cells_and_no_more() {
    // Nothing tells the requester: a wrong answer, within bounds and noise, as other values of the responder's are.
    let setting = Setting { dummies: (0, 0), own_sum: false, ..grouped(1, &[part(9, 0), part(8, 0)], 0) };
    let honest = run(&setting, &mut pass).map_err(Failure::error).unwrap().0;
    let mut moved = 0;
    let (answered, outcome) = run(&setting, &mut |role, phase, _, batch| {
        if (role, phase) != (Role::Responder, Phase::Tags) {
            return vec![batch];
        }
        let marks = batch.column(0).as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap().clone();
        let row = (0..marks.len()).find(|row| marks.value(*row) == [1]).unwrap();
        moved += 1;
        vec![replaced(&batch, 0, row, Some(&[2]))]
    })
    .map_err(Failure::error)
    .unwrap();
    assert_eq!(moved, 1);
    assert_eq!(answered.cells[0][0], honest.cells[0][0] - 1);
    assert_eq!(answered.cells[1][0], honest.cells[1][0] + 1);
    assert_ne!(answered.sizes, outcome.sizes);
}

#[test]
fn parts_of_a_question_without_own_groups_and_labels_of_one_by_no_column_are_refused() {
    let two = vec![part(9, 0), part(8, 0)];
    let setting = grouped(1, &two, 0);
    let with = |change: &dyn Fn(&mut OfferTerms)| {
        let mut terms = setting.offer();
        change(&mut terms);
        let values = vec![setting.requester.iter().map(|(_, value)| *value).collect()];
        let entries = Entries { parts: two.clone(), ..setting.entries(&setting.requester, values, 0) };
        let (check, rng) = (Box::new(|_: &[ChainLink]| Ok(())), ChaCha20Rng::seed_from_u64(1));
        Requester::new(terms, entries, granted(), None, check, Limits::default(), rng)
    };
    assert!(with(&|_| {}).is_ok());
    assert!(with(&|terms| terms.question.own_groups = false).is_err());
    assert!(with(&|terms| terms.question.group_by = Some("category".to_owned())).is_err());
}

#[test]
fn labels_other_than_the_published_ones_end_the_session() {
    let setting = grouped(1, &[], 3);
    let mut fewer = setting.clone();
    fewer.labels = 2;
    let mut requester = setting.requester().unwrap();
    let Output::Batch(offer) = requester.poll_output().unwrap() else { panic!("no offer") };
    let mut responder = fewer.responder(&Offer::from_batch(&offer).unwrap()).unwrap();
    let failure = drive(&mut requester, &mut responder, &mut pass);
    let Err(Failure::Requester(Error::Incompatible(text))) = failure else { panic!("not refused") };
    assert!(text.contains("group_by was label 0, label 1, label 2, is label 0, label 1);"), "{text}");
}

#[test]
fn own_values_by_labels_and_too_many_words_a_row_are_refused_before_an_answer() {
    let own = Setting { own_sum: true, ..grouped(1, &[], 2) };
    let Err(Failure::Responder(Error::Refused(text))) = run(&own, &mut pass) else { panic!("not refused") };
    assert!(text.contains("the label stands at one end"), "{text}");
    // Two words by 512 labels are as many as a row may have.
    let small = |labels| Setting { requester: people(0, 2, 1), responder: people(0, 2, 1), ..grouped(1, &[], labels) };
    check(&Setting { dummies: (0, 0), ot_width: 8, ..small(WORDS_PER_ROW_MAX / 2) });
    let more = run(&small(WORDS_PER_ROW_MAX / 2 + 1), &mut pass);
    let Err(Failure::Responder(Error::Refused(text))) = more else { panic!("not refused") };
    assert!(text.contains("1026 numbers"), "{text}");
}

#[test]
fn what_travels_in_groups_depends_on_announced_counts_and_sizes_alone() {
    let shapes = |setting: &Setting| {
        let mut shapes = Vec::new();
        let (answered, _) = run(setting, &mut |role, phase, _, batch| {
            if phase != Phase::Hello {
                shapes.push((role, phase, batch.num_rows(), batch.schema()));
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        (shapes, answered.sizes)
    };
    let one = Setting { dummies: (0, 0), ..grouped(1, &[part(9, 0), part(8, 0)], 3) };
    // Other values, other persons in the parts, fillers in place of persons: as many entries a part, as many matches.
    let mut other = Setting { seed: 5, parts: vec![part(7, 2), part(8, 0)], ..one.clone() };
    other.requester.drain(0..2);
    other.responder.iter_mut().for_each(|(_, value)| *value = 0);
    let (one, other) = (shapes(&one), shapes(&other));
    assert_eq!(one.0, other.0);
}

fn parted() -> impl Strategy<Value = Setting> {
    let parts = prop_oneof![
        1 => Just(None),
        3 => proptest::collection::vec((0usize..4, 0u64..2), 1..5).prop_map(Some),
    ];
    (settings(), parts, 0usize..4).prop_map(|(setting, parts, labels)| {
        // The persons that there are fall into the parts as far as they go; the last has the rest.
        let mut left = setting.requester.len();
        let mut cut: Vec<EntryPart> = parts
            .into_iter()
            .flatten()
            .map(|(persons, fillers)| {
                let persons = persons.min(left);
                left -= persons;
                part(persons, fillers)
            })
            .collect();
        if let Some(last) = cut.last_mut() {
            last.persons += left;
        }
        let own_sum = setting.own_sum && labels == 0;
        Setting { parts: cut, labels, own_sum, ..setting }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_two_prepared_tables_in_any_parts_and_labels_give_what_the_model_gives(setting in parted()) {
        check(&setting);
    }
}
