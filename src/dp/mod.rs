//! dp
mod accountant;
mod clip;
mod hypergeometric;
mod loss;
mod reservation;
pub use accountant::*;
pub use clip::*;
pub use hypergeometric::*;
pub use reservation::*;
