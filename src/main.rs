//! The `skiff-image` command.

fn main() {}
