//! Everything that the hello says is bound, compared, and ends the session where it was changed.

use arrow::array::{Array, ArrayRef, StringArray};

use super::*;

/// The offer's or answer's batch with one value changed.
fn with_value(batch: &RecordBatch, row: usize, value: &str) -> RecordBatch {
    let column = |index: usize| batch.column(index).as_any().downcast_ref::<StringArray>().unwrap();
    let values: StringArray =
        (0..batch.num_rows()).map(|i| Some(if i == row { value } else { column(1).value(i) })).collect();
    RecordBatch::try_new(batch.schema(), vec![Arc::clone(batch.column(0)), Arc::new(values) as ArrayRef]).unwrap()
}

fn pair(batch: &RecordBatch, row: usize) -> (String, String) {
    let text = |index: usize| batch.column(index).as_any().downcast_ref::<StringArray>().unwrap().value(row).to_owned();
    (text(0), text(1))
}

/// Another value that the field could have had: what a wary network would write.
fn another(name: &str, value: &str) -> String {
    let next = || (value.parse::<u64>().unwrap() + 1).to_string();
    match name {
        "session" | "nonce" => format!("{}{}", if value.starts_with('0') { '1' } else { '0' }, &value[1..]),
        "persons" | "dummies" | "tag-bytes" | "minimum-matched" => next(),
        "ot-width" => if value == "4" { "8" } else { "4" }.to_owned(),
        "own-groups" => if value == "no" { "yes" } else { "no" }.to_owned(),
        "receipts" => if value == "none" { "x509" } else { "none" }.to_owned(),
        "filtered-rows" => "reveal".to_owned(),
        "sizes" => "private 1 0.001 11 2".to_owned(),
        "outputs" => "epsilon 1/5".to_owned(),
        "chain" => format!("{}{}", &value[..value.len() - 1], if value.ends_with('0') { '1' } else { '0' }),
        "word" => value.replace("laplace 3/1", "laplace 2/1"),
        "aggregate" => match value {
            "persons" => "rows(basket)".to_owned(),
            "own-sum(0,0)" => "own-rows(7)".to_owned(),
            _ => "sum(weight)".to_owned(),
        },
        "normaliser" => "exact/2".to_owned(),
        "version" => "datafusion-psi/1".to_owned(),
        _ => format!("{value}x"),
    }
}

fn small(keys: Option<Keys>) -> Setting {
    let requester = vec![person(&["a", "x"], 1), person(&["b", "y"], 2)];
    let responder = vec![person(&["b", "z"], 3), person(&["c", "x"], 4)];
    let noise = "laplace 3/1".parse().unwrap();
    Setting { noise, keys, ..Setting::new(2, requester, responder) }
}

/// In two parts, by three labels, with a filter of a word's own.
fn small_in_groups() -> Setting {
    let part = |persons| EntryPart { persons, fillers: 1 };
    Setting { parts: vec![part(1), part(1)], labels: 3, own_sum: false, ..small(None) }
}

#[test]
fn a_field_of_either_hello_changed_in_flight_ends_the_session_before_an_element_leaves() {
    let (groups, none) = (["when", "group-by", "label"], []);
    for (setting, more) in [(small(None), &none[..]), (small(Some(Keys::HONEST)), &none), (small_in_groups(), &groups)]
    {
        let mut hellos = Vec::new();
        run(&setting, &mut |role, phase, _, batch| {
            if phase == Phase::Hello {
                hellos.push((role, batch.clone()));
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        assert_eq!(hellos.len(), 2);
        let mut names = Vec::new();
        for (role, hello) in hellos {
            for row in 0..hello.num_rows() {
                let (name, value) = pair(&hello, row);
                let changed = another(&name, &value);
                assert_ne!(changed, value, "{name}");
                names.push(name.clone());
                let mut last = Phase::Hello;
                let outcome = run(&setting, &mut |r, phase, _, batch| {
                    last = last.max(phase);
                    vec![if (r, phase) == (role, Phase::Hello) { with_value(&batch, row, &changed) } else { batch }]
                });
                assert!(outcome.is_err(), "{name} = {changed} of the {role:?}'s hello went unnoticed");
                assert!(last <= Phase::Confirm, "{name} = {changed} of the {role:?}'s hello was noticed in {last}");
            }
        }
        let all = ["sizes", "outputs", "chain", "receipts", "word", "minimum-matched", "filtered-rows", "own-groups"];
        for name in all.iter().chain(more) {
            assert!(names.iter().any(|found| found == name), "{name} is in no hello");
        }
    }
}

#[test]
fn an_answer_on_other_terms_than_the_published_ones_is_refused_by_name() {
    let setting = small(None);
    for (name, was) in [
        ("minimum-matched", "minimum_matched was 0, is 1"),
        ("filtered-rows", "filtered_rows was hide, is reveal"),
        ("sizes", "sizes was private 2 default 10 3, is private 1 0.001 11 2"),
        ("outputs", "outputs was epsilon 2/5, is epsilon 1/5"),
        ("word", "terms for the count of persons have changed"),
    ] {
        let outcome = run(&setting, &mut |role, phase, _, batch| {
            let row = (0..batch.num_rows()).find(|row| phase == Phase::Hello && pair(&batch, *row).0 == name);
            vec![match row.filter(|_| role == Role::Responder) {
                Some(row) => with_value(&batch, row, &another(name, &pair(&batch, row).1)),
                None => batch,
            }]
        });
        let Err(Failure::Requester(Error::Incompatible(text))) = outcome else { panic!("{name}") };
        assert!(text.contains(was) && text.contains("run the query again"), "{text}");
    }
}

#[test]
fn a_chain_that_the_requester_s_books_refuse_ends_the_session_before_confirm() {
    let setting = small(None);
    let entries = |values| setting.entries(&setting.requester, values, 0);
    let check: ChainCheck = Box::new(|chain| Err(Error::Refused(format!("rolled back to {}", chain[0].seq))));
    let values = vec![setting.requester.iter().map(|(_, value)| *value).collect()];
    let rng = ChaCha20Rng::seed_from_u64(3);
    let mut requester =
        Requester::new(setting.offer(), entries(values), granted(), None, check, Limits::default(), rng).unwrap();
    let Output::Batch(offer) = requester.poll_output().unwrap() else { panic!("no offer") };
    let mut responder = setting.responder(&Offer::from_batch(&offer).unwrap()).unwrap();
    let mut phases = Vec::new();
    let failure = drive(&mut requester, &mut responder, &mut |_, phase, _, batch| {
        phases.push(phase);
        vec![batch]
    });
    let Err(Failure::Requester(Error::Refused(text))) = failure else { panic!("not refused") };
    assert_eq!(text, "rolled back to 9");
    assert!(phases.iter().all(|phase| *phase == Phase::Hello), "{phases:?}");
}

#[test]
fn the_responder_reads_the_requester_s_chain_before_it_makes_a_session() {
    let mut requester = small(None).requester().unwrap();
    let Output::Batch(offer) = requester.poll_output().unwrap() else { panic!("no offer") };
    let offer = Offer::from_batch(&offer).unwrap();
    assert_eq!(offer.chain, [ChainLink { seq: 4, hash: [4; 32] }, ChainLink { seq: 3, hash: [3; 32] }]);
}

#[test]
fn a_requester_cannot_make_the_responder_pay_for_more_dummies_than_its_factor_allows() {
    let setting = Setting { dummies: (65_537, 16), ..small(None) };
    let Err(Failure::Responder(Error::Refused(text))) = run(&setting, &mut pass) else { panic!("not refused") };
    assert!(text.contains("65537 dummies") && text.contains("dummies_factor_max"), "{text}");
    check(&Setting { dummies: (64, 0), noise: Noise::None, ..small(None) });
}

#[test]
fn a_receipt_that_one_side_alone_can_sign_is_refused_whichever_side_that_is() {
    for keyed in [Role::Requester, Role::Responder] {
        let with = |role| Setting { keys: (role == keyed).then_some(Keys::HONEST), ..small(None) };
        let mut requester = with(Role::Requester).requester().unwrap();
        let Output::Batch(offer) = requester.poll_output().unwrap() else { panic!("no offer") };
        let refused = with(Role::Responder).responder(&Offer::from_batch(&offer).unwrap());
        assert!(matches!(refused.err(), Some(Error::Incompatible(text)) if text.contains("certificate")));
    }
}

#[test]
fn a_word_that_the_noise_could_overflow_is_refused_by_its_shape_before_an_answer() {
    let bound = i128::MAX / 4;
    let fits = Setting { bound, noise: Noise::None, ..small(None) };
    check(&fits);
    let mut messages = Vec::new();
    let failure =
        run(&Setting { noise: format!("laplace {bound}/1").parse().unwrap(), ..fits }, &mut |r, p, _, batch| {
            messages.push((r, p));
            vec![batch]
        });
    let Err(Failure::Responder(Error::Refused(text))) = failure else { panic!("not refused") };
    assert!(text.contains("noise"), "{text}");
    assert_eq!(messages, [(Role::Requester, Phase::Hello)]);
}

#[test]
fn a_failed_session_still_tells_the_sizes_that_it_saw() {
    let table = |from: i128| -> Rows {
        (from..from + 20).map(|i| person(&[&format!("p{i}"), &format!("q{}", i % 40), &format!("r{i}")], i)).collect()
    };
    let setting = Setting::new(3, table(0), table(11));
    let (mut requester, mut responder) = open(&setting, &mut pass).map_err(Failure::error).unwrap();
    assert!(requester.sizes().is_empty() && responder.sizes().is_empty());
    drive(&mut requester, &mut responder, &mut pass).map_err(Failure::error).unwrap();
    let whole = requester.sizes().to_vec();
    assert_eq!(whole.len(), 3);
    assert_eq!(requester.into_answer().unwrap().sizes, whole);

    // Cut before the second column has been matched, before the third, and by the minimum.
    for seen in [1, 2] {
        let (mut requester, mut responder) = open(&setting, &mut pass).map_err(Failure::error).unwrap();
        let phase = Phase::Elements(seen as u8 + 1);
        let failure = drive(&mut requester, &mut responder, &mut |_, p, _, batch| {
            if p == phase { Vec::new() } else { vec![batch] }
        });
        assert!(failure.is_err());
        assert_eq!((requester.sizes(), responder.sizes()), (&whole[..seen], &whole[..seen]));
    }
    let (mut requester, mut responder) =
        open(&Setting { minimum_matched: 50, ..setting }, &mut pass).map_err(Failure::error).unwrap();
    let failure = drive(&mut requester, &mut responder, &mut pass);
    assert!(matches!(failure, Err(Failure::Responder(Error::Refused(_)))));
    assert_eq!(responder.sizes(), whole);
}
