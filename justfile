# The recipes, listed.
default:
    @just --list

# A reducer, the relay and a small cluster in one process: what the program is for.
demo:
    cargo run --release -- demo

# The static binaries as they are shipped, for amd64 and arm64, with checksums and an SBOM, in `target/dist-files`.
dist:
    .ci/dist

# The binary of this machine as it is shipped, in `target/dist`: slow to build, 15 to 25 % less CPU an event.
dist-here:
    cargo build --locked --profile dist --bin k8s-relay

# Everything that CI runs.
check:
    .ci/run

# The same, and what takes longer: manifests on a real API server, static binaries, every judge.
check-long:
    .ci/run --long

# The list of settings in `docs/configuration.md`, made again of the flags' definitions.
docs:
    UPDATE_DOCS=1 cargo test --test it the_document_lists_every_setting

# The plots in `docs/plots`, drawn again from `benches/figures.json`.
plots:
    UPDATE_DOCS=1 cargo test --test it plots_show_the_measured_figures

# All tests.
test:
    cargo test

# All tests, the laws each time with other histories. What fails is kept in `tests/proptest-regressions/`.
laws:
    PROPTEST_RNG_SEED=$(date +%s) cargo test

# The compat harness in its long form; arguments are its own, `--help` names them. Needs Go.
compat *arguments:
    cargo test --test compat -- --long {{arguments}}

# The end-to-end suite: a real control plane, a real Go watcher, relays in every set-up. Needs Go.
cluster *flags:
    compat/cluster/run.sh {{flags}}

# The figures of the README's performance section.
bench:
    cargo bench

# Known vulnerabilities. Apart from `check`: it fetches a database from the network.
deny-advisories:
    cargo deny --all-features check advisories

# Formats the code.
fmt:
    cargo fmt
