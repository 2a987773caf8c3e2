//! Pinned draws: a change of what a sampler does with its generator shows here, and has to be meant. The numbers come from
//! a second implementation: ChaCha20 and the paper's pseudo-code in Python, with its integers and fractions.

use super::super::{NoiseError, QueryOutputs};
use super::{gaussian, laplace, ratio};
use crate::dp::{Noise, pad_fillers};
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

/// The first draws from ChaCha20 with the seed 0, 1, …, 31.
fn first(noise: &Noise) -> Vec<i128> {
    let seed = std::array::from_fn(|i| i as u8);
    let mut rng = ChaCha20Rng::from_seed(seed);
    (0..12).map(|_| noise.sample(&mut rng)).collect()
}

#[test]
fn draws_from_a_fixed_seed_are_these() {
    assert_eq!(first(&laplace("1/3")), [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0]);
    assert_eq!(first(&laplace("50/1")), [44, -113, 75, -35, -1, -82, -68, 4, 48, 18, 8, -61]);
    assert_eq!(
        first(&laplace("100000000000000000000000000/7")),
        [
            14931701908625717693288931,
            10523333660835852651118195,
            -8575768082465293142438730,
            -7253218488737563137819077,
            -1814674028880387692353002,
            29150265052367549263540270,
            15438434697545818296485454,
            -24537128484960333283633759,
            -5369597843324985234252136,
            908415468405448542219181,
            9867795374788342523423663,
            -1435801633576675901988256
        ]
    );
    assert_eq!(first(&gaussian("1/3")), [-1, 0, 0, 0, 1, -1, -1, 0, 0, 0, 0, -1]);
    assert_eq!(first(&gaussian("2500/1")), [44, -72, -9, 23, 21, 47, 48, -36, 35, 13, 26, -10]);
    assert_eq!(
        first(&gaussian("10000000000000000000000000000000000000000/7")),
        [
            -25165251401084307570,
            -20362174821770152539,
            -11348292442982096191,
            57344729873938107273,
            -11294538643792851757,
            63630792227382596655,
            22604220528948714214,
            -37997824810812036234,
            -60140850895269879158,
            9826071047869671095,
            -40688187325038957992,
            -65272096720135211623
        ]
    );
    assert_eq!(first(&Noise::None), [0; 12]);
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let fillers: Vec<u64> = (0..12).map(|_| pad_fillers(&ratio("1/10"), 60, &mut rng)).collect();
    assert_eq!(fillers, [46, 73, 69, 64, 55, 58, 65, 61, 60, 49, 65, 61]);
}

#[test]
fn no_float_is_near_a_sampler() {
    for source in [include_str!("../exact.rs"), include_str!("../fillers.rs")] {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(code.clone().count() > 20);
        assert!(code.into_iter().all(|line| !line.contains("f64") && !line.contains("f32")));
    }
}

#[test]
fn every_noise_has_one_spelling() {
    for good in ["none", "laplace 500/3", "laplace 1/7", "gaussian 12500000/1"] {
        assert_eq!(good.parse::<Noise>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "None",
        "none ",
        " none",
        "none 1/1",
        "laplace",
        "laplace ",
        "laplace 5",
        "laplace 0/1",
        "laplace 2/4",
        "laplace  1/2",
        "laplace -1/2",
        "laplace 1/2 ",
        "gauss 1/2",
        "gaussian 1/0",
        "gaussian 1/2 1/2",
    ] {
        assert_eq!(bad.parse::<Noise>(), Err(NoiseError::Noise), "{bad:?}");
    }
    for good in ["exact", "epsilon 2/5", "rho 1/400"] {
        assert_eq!(good.parse::<QueryOutputs>().unwrap().to_string(), good);
    }
    for bad in ["", "Exact", "exact ", "epsilon", "epsilon 0/1", "epsilon 0.4", "rho 2/4", "laplace 1/2"] {
        assert_eq!(bad.parse::<QueryOutputs>(), Err(NoiseError::Outputs), "{bad:?}");
    }
}
