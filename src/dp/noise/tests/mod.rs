//! Tests of the sampled laws: exactly, branch by branch (`branches`); by statistics of many draws from a seeded generator
//! (`laws`); by pinned draws (`vectors`); and of what is said about their reach (`reach`).

mod branches;
mod laws;
mod reach;
mod vectors;

use super::{Noise, Ratio};

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

fn laplace(scale: &str) -> Noise {
    Noise::Laplace { scale: ratio(scale) }
}

fn gaussian(variance: &str) -> Noise {
    Noise::Gaussian { variance: ratio(variance) }
}

/// P(X = x), from the definition: weights over their sum, summed where they are above roundoff.
fn probability(noise: &Noise, x: i128) -> f64 {
    let weight = weights(noise);
    let mut total = weight(0);
    let mut far = 1;
    while weight(far) > 1e-25 {
        total += 2.0 * weight(far);
        far += 1;
    }
    weight(x) / total
}

/// The laws' weights, unnormalised.
fn weights(noise: &Noise) -> impl Fn(i128) -> f64 {
    let (parameter, square) = match noise {
        Noise::None => (0.0, false),
        Noise::Laplace { scale } => (scale.to_f64(), false),
        Noise::Gaussian { variance } => (2.0 * variance.to_f64(), true),
    };
    move |x| {
        let x = x.unsigned_abs() as f64;
        (-(if square { x * x } else { x }) / parameter).exp()
    }
}
