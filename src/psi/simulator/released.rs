//! What leaves at the end: sums with the responder's noise, and receipts that both sides sign.

use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray};
use rand_core::Rng;

use super::*;

fn laplace(text: &str) -> Noise {
    text.parse().unwrap()
}

fn two_people(keys: Option<Keys>) -> Setting {
    let requester = vec![person(&["a"], 5), person(&["b"], -7)];
    let responder = vec![person(&["b"], 10), person(&["a"], -40), person(&["c"], 1)];
    Setting { keys, ..Setting::new(1, requester, responder) }
}

#[test]
fn a_released_word_is_the_exact_sum_and_the_responder_s_noise_for_the_requester_s_own_words_too() {
    for seed in 0..8 {
        let bound = if seed % 2 == 0 { 1000 } else { i128::from(i64::MAX) * 4 };
        let setting = Setting { seed, bound, noise: laplace("laplace 7/2"), ..two_people(None) };
        let (answered, outcome) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
        // The responder's generator: the nonce first, then the words in their order.
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ u64::MAX);
        rng.fill_bytes(&mut [0; 32]);
        let exact = &setting.expected().1[0];
        let expected: Vec<i128> = exact.iter().map(|sum| sum + setting.noise.sample(&mut rng)).collect();
        assert_eq!(answered.cells, [expected]);
        assert_eq!((answered.receipt, outcome.receipt), (None, None));
    }
}

#[test]
fn released_words_have_the_law_of_the_noise_around_the_exact_sums() {
    // P(x) = (1 − q)/(1 + q) · q^|x|, q = e^(−1/2), two words a session, in bins …−4, −3, …, 3, 4…
    let (sessions, q) = (120_u32, (-0.5_f64).exp());
    let noise = laplace("laplace 2/1");
    let setting = Setting { noise, own_sum: false, dummies: (0, 0), ot_width: 8, ..two_people(None) };
    let exact = setting.expected().1.remove(0);
    let mut seen = [0_u32; 9];
    for seed in 0..u64::from(sessions) {
        let session = Setting { seed: seed + 1000, ..setting.clone() };
        let (answered, _) = run(&session, &mut pass).map_err(Failure::error).unwrap();
        for (sum, exact) in answered.cells[0].iter().zip(&exact) {
            seen[((sum - exact).clamp(-4, 4) + 4) as usize] += 1;
        }
    }
    let words = f64::from(2 * sessions);
    let law = |x: i32| {
        let end = if x.abs() == 4 { 1.0 / (1.0 - q) } else { 1.0 };
        (1.0 - q) / (1.0 + q) * q.powi(x.abs()) * end
    };
    let chi_square: f64 =
        (-4..=4).zip(seen).map(|(x, count)| (f64::from(count) - words * law(x)).powi(2) / (words * law(x))).sum();
    // Eight degrees of freedom: above 42.7 once in a million.
    assert!(chi_square < 42.7, "{chi_square}: {seen:?}");
}

#[test]
fn a_share_that_opens_beyond_bounds_and_noise_is_the_peer_s_doing_and_within_the_noise_is_not() {
    let noise = laplace("laplace 5/1");
    let tail = noise.tail() as i128;
    for (moved, wrong) in [(tail / 2, false), (-tail / 2, false), (2 * tail, true), (-2 * tail, true)] {
        let setting = Setting { noise: noise.clone(), ..two_people(None) };
        let outcome = run(&setting, &mut |role, phase, _, batch| {
            if (role, phase) != (Role::Responder, Phase::Release) {
                return vec![batch];
            }
            let old = batch.column(1).as_any().downcast_ref::<FixedSizeBinaryArray>().unwrap();
            let mut shares: Vec<[u8; 16]> = old.iter().flatten().map(|share| share.try_into().unwrap()).collect();
            let first = u64::from_le_bytes(shares[0][..8].try_into().unwrap()).wrapping_add(moved as u64);
            shares[0][..8].copy_from_slice(&first.to_le_bytes());
            vec![with_column(&batch, 1, Arc::new(FixedSizeBinaryArray::try_from_iter(shares.iter()).unwrap()))]
        });
        match outcome {
            Ok(_) => assert!(!wrong, "{moved}"),
            Err(failure) => {
                assert!(wrong, "{moved}");
                let error = failure.error();
                assert!(error.to_string().contains("clip bounds and the noise"), "{error}");
                assert_eq!(error.fault(), Fault::Peer);
            }
        }
    }
}

#[test]
fn both_sides_build_the_same_receipt_and_each_signature_verifies_for_its_signer_alone() {
    let setting = Setting { noise: laplace("laplace 3/1"), ..two_people(Some(Keys::HONEST)) };
    let (answered, outcome) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
    let (requester, responder) = (answered.receipt.unwrap(), outcome.receipt.unwrap());
    assert_eq!(requester.text, responder.text);
    assert_eq!(requester.own_signature, responder.peer_signature);
    assert_eq!(requester.peer_signature, responder.own_signature);
    let receipt = Receipt::parse(&requester.text).unwrap();
    assert_eq!(receipt.text(), requester.text);
    assert_eq!((receipt.session(), receipt.sizes()), (SessionId([7; 16]), &answered.sizes[..]));
    assert_eq!((receipt.offer().requester.as_str(), receipt.answer().persons), ("publisher", 3));
    for (role, signature, key) in
        [(Role::Requester, &requester.own_signature, 1), (Role::Responder, &responder.own_signature, 2)]
    {
        receipt.verify(role, signature, &Toy(key)).unwrap();
        let other = if role == Role::Requester { Role::Responder } else { Role::Requester };
        assert!(receipt.verify(other, signature, &Toy(key)).is_err(), "handed back as the {other:?}'s");
        assert!(receipt.verify(role, signature, &Toy(key + 5)).is_err());
    }
}

#[test]
fn a_receipt_with_any_line_dropped_doubled_moved_or_changed_is_none() {
    let setting = Setting { noise: laplace("laplace 3/1"), ..two_people(Some(Keys::HONEST)) };
    let (answered, _) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
    let text = answered.receipt.unwrap().text;
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(joined(&lines), text);
    for at in 0..lines.len() {
        let with = |change: &dyn Fn(&mut Vec<&str>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            joined(&lines)
        };
        let (head, last) = lines[at].split_at(lines[at].len() - 1);
        let changed = format!("{head}{}", if last == "1" { '2' } else { '1' });
        let mut variants = vec![
            with(&|lines| {
                lines.remove(at);
            }),
            with(&|lines| lines.insert(at, lines[at])),
            joined(&[&lines[..at], &[changed.as_str()], &lines[at + 1..]].concat()),
        ];
        if at + 1 < lines.len() {
            variants.push(with(&|lines| lines.swap(at, at + 1)));
        }
        for variant in variants.into_iter().filter(|variant| *variant != text) {
            // The size alone hangs on nothing else in the text: there the signatures tell.
            let is_size = lines[at].starts_with("size ") && variant.lines().count() == lines.len();
            match Receipt::parse(&variant) {
                Err(_) => {}
                Ok(read) => {
                    assert!(is_size, "line {at} of\n{variant}");
                    assert_ne!(read.text(), text);
                }
            }
        }
    }
    for (end, found) in [("", false), ("\n", true), ("\r\n", false), ("\n\n", false)] {
        assert_eq!(Receipt::parse(&format!("{}{end}", text.trim_end())).is_ok(), found, "{end:?}");
    }
    let other = text.replacen("datafusion-psi/3 receipt", "datafusion-psi/2 receipt", 1);
    assert!(matches!(Receipt::parse(&other), Err(Error::Incompatible(_))));
}

#[test]
fn names_and_filters_with_line_ends_and_backslashes_stay_one_line_and_come_back() {
    let setting = two_people(Some(Keys::HONEST));
    let (answered, _) = run(&setting, &mut pass).map_err(Failure::error).unwrap();
    let plain = Receipt::parse(&answered.receipt.unwrap().text).unwrap();
    let mut offer = plain.offer().clone();
    offer.question.filter = Some("note LIKE 'a\\_\nb\r\u{7}\\u{a}' OR\ttrue".to_owned());
    offer.requester = "x\nanswer persons 1".to_owned();
    let odd = Receipt::new(offer.clone(), plain.answer().clone(), plain.sizes().to_vec());
    assert_eq!(odd.text().lines().count(), plain.text().lines().count() + 1);
    let read = Receipt::parse(odd.text()).unwrap();
    assert_eq!(read.offer(), &offer);
    assert_eq!(read, odd);
}

/// The batch with another column.
fn with_column(batch: &RecordBatch, index: usize, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[index] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Runs with the signatures of `by` changed; the failure, and how many release batches the responder has sent.
fn with_signatures(
    setting: &Setting,
    by: Role,
    change: &dyn Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>,
) -> (Option<Failure>, usize) {
    let mut released = 0;
    let outcome = run(setting, &mut |role, phase, _, batch| {
        if phase != Phase::Release {
            return vec![batch];
        }
        released += usize::from(role == Role::Responder);
        if role != by {
            return vec![batch];
        }
        let index = batch.num_columns() - 1;
        let old = batch.column(index).as_any().downcast_ref::<BinaryArray>().unwrap();
        let signatures = change(old.iter().flatten().map(<[u8]>::to_vec).collect());
        assert_eq!(signatures.len(), old.len());
        vec![with_column(&batch, index, Arc::new(BinaryArray::from_iter_values(signatures)))]
    });
    (outcome.err(), released)
}

#[test]
fn a_wrong_missing_or_foreign_signature_ends_the_session_before_the_shares_leave() {
    let honest = two_people(Some(Keys::HONEST));
    type Change = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    let changes: [(&str, Change); 4] = [
        ("missing", |signatures| signatures.iter().map(|_| Vec::new()).collect()),
        ("flipped", |mut signatures| {
            signatures[0][9] ^= 16;
            signatures
        }),
        ("cut", |mut signatures| {
            signatures[0].remove(0);
            signatures
        }),
        ("too long", |signatures| signatures.iter().map(|_| vec![1; SIGNATURE_BYTES_MAX + 1]).collect()),
    ];
    for (name, change) in changes {
        let (failure, released) = with_signatures(&honest, Role::Requester, &change);
        let Some(Failure::Responder(error)) = failure else { panic!("{name} went unnoticed") };
        assert!(matches!(error, Error::Peer(PeerMisbehaved::Signature(_))), "{name}: {error}");
        assert_eq!(released, 0, "{name}: the shares have left");
        let (failure, _) = with_signatures(&honest, Role::Responder, &change);
        let Some(Failure::Requester(error)) = failure else { panic!("{name} went unnoticed") };
        assert!(matches!(error, Error::Peer(PeerMisbehaved::Signature(_))), "{name}: {error}");
    }
    // In another row than the first, too.
    let (failure, _) = with_signatures(&honest, Role::Responder, &|mut signatures| {
        assert!(!signatures[0].is_empty() && signatures[1..].iter().all(Vec::is_empty));
        signatures[1] = signatures[0].clone();
        signatures
    });
    assert!(matches!(failure, Some(Failure::Requester(Error::Peer(PeerMisbehaved::Signature(_))))));
    // Somebody else's key, on either side.
    let foreign = Setting { keys: Some(Keys { requester: 7, ..Keys::HONEST }), ..honest.clone() };
    let (failure, released) = with_signatures(&foreign, Role::Requester, &|signatures| signatures);
    assert!(matches!(failure, Some(Failure::Responder(Error::Peer(PeerMisbehaved::Signature(_))))));
    assert_eq!(released, 0);
    let foreign = Setting { keys: Some(Keys { responder: 7, ..Keys::HONEST }), ..honest };
    let (failure, _) = with_signatures(&foreign, Role::Requester, &|signatures| signatures);
    assert!(matches!(failure, Some(Failure::Requester(Error::Peer(PeerMisbehaved::Signature(_))))));
}

#[test]
fn a_signature_where_none_was_agreed_is_refused() {
    for by in [Role::Requester, Role::Responder] {
        let (failure, _) =
            with_signatures(&two_people(None), by, &|signatures| signatures.iter().map(|_| vec![1]).collect());
        let error = failure.unwrap().error();
        assert!(matches!(error, Error::Peer(PeerMisbehaved::Signature(_))), "{by:?}: {error}");
    }
}

#[test]
fn a_release_with_noise_and_signatures_has_a_shape_that_no_value_moves() {
    let shapes = |setting: &Setting| {
        let mut shapes = Vec::new();
        run(setting, &mut |role, phase, _, batch| {
            if phase != Phase::Hello {
                shapes.push((role, phase, batch.num_rows(), batch.schema(), batch.get_array_memory_size()));
            }
            vec![batch]
        })
        .map_err(Failure::error)
        .unwrap();
        shapes
    };
    let one = Setting { noise: laplace("laplace 90/1"), ..two_people(Some(Keys::HONEST)) };
    let mut other = Setting { seed: 12, ..one.clone() };
    other.requester.iter_mut().chain(&mut other.responder).for_each(|(_, value)| *value = 0);
    // Dummies may match or not; without them the two differ in values and noise alone.
    let (one, other) = (Setting { dummies: (0, 0), ..one }, Setting { dummies: (0, 0), ..other });
    assert_eq!(shapes(&one), shapes(&other));
}
