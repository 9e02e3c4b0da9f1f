//! The harness of `compat/` without relays: what it reads, how it judges, what it says. With
//! relays it proves itself (`cargo test --test compat`).

mod judges;
mod reads;
mod says;
