//! The fuzz targets, replayed: their corpus, and mutations of it.
//!
//! The mutations come from a fixed seed, so that every run sees the same ones. With `FUZZ_SECONDS`
//! each target goes on for so long, from another seed each time.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use targets::{ALL, Target};

/// Mutations of each target in an ordinary run.
const MUTATIONS: u32 = 400;
/// The longest input, in bytes.
const LONGEST: usize = 8 << 10;

#[test]
fn every_target_has_a_corpus_and_stands_it() {
    for target in ALL {
        let corpus = corpus(target.0);
        assert!(!corpus.is_empty(), "{}: no corpus", target.0);
        for (name, input) in &corpus {
            stands(target, input, name);
        }
        stands(target, b"", "nothing");
    }
    let folders = fs::read_dir(folder("")).unwrap();
    assert_eq!(folders.count(), ALL.len(), "a corpus without a target");
}

#[test]
fn every_target_is_a_program_of_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    let programs = manifest["bin"].as_array().unwrap();
    assert_eq!(programs.len(), ALL.len());
    for (name, _) in ALL {
        let path = format!("fuzz_targets/{name}.rs");
        let is_it = |bin: &toml::Value| {
            bin["name"].as_str() == Some(name) && bin["path"].as_str() == Some(&path)
        };
        assert!(programs.iter().any(is_it), "{name}");
        let program = fs::read_to_string(root.join(path)).unwrap();
        assert!(
            program.contains(&format!("targets::{name}(bytes)")),
            "{name}"
        );
    }
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a run over minutes says how far it came"
)]
fn every_target_stands_mutations_of_its_corpus() {
    let seconds = env::var("FUZZ_SECONDS")
        .ok()
        .map(|text| text.parse().unwrap());
    for (at, target) in ALL.into_iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(match seconds {
            None => at as u64,
            Some(_) => fastrand::u64(..),
        });
        let corpus: Vec<Vec<u8>> = corpus(target.0)
            .into_iter()
            .map(|(_, input)| input)
            .collect();
        let begun = Instant::now();
        let goes_on = |done: u32| match seconds {
            None => done < MUTATIONS,
            Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
        };
        let mut done = 0;
        while goes_on(done) {
            let input = mutated(&corpus, &mut random);
            stands(target, &input, "a mutation");
            done += 1;
        }
        if seconds.is_some() {
            println!("{}: {done} mutations", target.0);
        }
    }
}

/// Panics with the input, as hexadecimal digits, if the target does.
fn stands(target: Target, input: &[u8], what: &str) {
    let (name, run) = target;
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name} does not stand {what}: {hex}");
    }
}

fn folder(target: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fuzz/corpus").join(target)
}

/// The inputs of a target with their names, in order.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let input = |path: &std::path::PathBuf| (path.display().to_string(), fs::read(path).unwrap());
    paths.iter().map(input).collect()
}

/// An input of the corpus after some changes: bits, bytes and numbers that matter, pieces taken
/// out, doubled, or put in from elsewhere.
fn mutated(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    const BYTES: [u8; 12] = [
        0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'}', b'[', b'\\', b'\n', b':',
    ];
    let mut input = random.choice(corpus).unwrap().clone();
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(0..=input.len());
        let end = random.usize(at..=input.len().min(at + 32));
        match random.u8(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => input[at] = *random.choice(&BYTES).unwrap(),
            2 => input.insert(at, *random.choice(&BYTES).unwrap()),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = random.choice(corpus).unwrap();
                let from = random.usize(0..=other.len());
                let to = random.usize(from..=other.len().min(from + 64));
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => input.truncate(at.max(input.len() / 2)),
        }
    }
    input.truncate(LONGEST);
    input
}
