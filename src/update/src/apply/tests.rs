pub(crate) mod flat;
mod power;
mod real;
pub(crate) mod steps;
