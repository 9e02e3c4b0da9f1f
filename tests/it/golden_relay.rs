//! The recordings of the legacy relay, played once more through the native source. Through
//! `Collect` streams the harness in `compat/` plays them. See `compat/README.md`.

mod native;
