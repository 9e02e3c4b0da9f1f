#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{error::Error as _, os::unix::fs::symlink, process::Command};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.json")
    }

    fn write(&self, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(), content).unwrap();
        self.path()
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        let text = |name: std::ffi::OsString| name.into_string().unwrap();
        names.into_iter().map(text).collect()
    }
}

fn some_state() -> State {
    State {
        source: Stage::Shadow,
        stage: Stage::ShadowNative,
        forced: true,
        auto: Auto {
            rollbacks: 2,
            suspended: false,
            stopped_by_operator: false,
        },
    }
}

/// The first state to be kept, and what sends others.
fn states(state: State) -> (watch::Sender<Numbered>, watch::Receiver<Numbered>) {
    watch::channel(Numbered { number: 0, state })
}

fn some(number: u64) -> Numbered {
    Numbered {
        number,
        state: some_state(),
    }
}

/// Where it is said what became of the states.
fn written() -> (watch::Sender<Written>, watch::Receiver<Written>) {
    watch::channel(Written::default())
}

/// The error of a start and of a check with this file, which is the same, and its cause.
fn refused(path: &Path) -> String {
    let check = StateFile::check(path, Stage::Shadow).unwrap_err();
    let start = StateFile::open(path.to_owned(), Stage::Shadow).unwrap_err();
    assert_eq!(check.to_string(), start.to_string());
    let cause = start.source().map(|cause| format!(": {cause}"));
    let said = start.to_string() + &cause.unwrap_or_default();
    let name = path.display().to_string();
    assert!(said.contains(&name), "{said} does not name the file");
    said.replace(&name, "FILE")
}

#[test]
fn the_file_is_for_people_too() {
    let folder = Folder::new();
    let (file, _) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    file.write(&some_state()).unwrap();
    insta::assert_snapshot!(folder.read(), @r#"
    {
      "schema": "k8s-relay/migration/1",
      "source": "shadow",
      "stage": "shadow-native",
      "forced": true,
      "auto": {
        "rollbacks": 2,
        "given_up": false,
        "stopped_by_operator": false
      }
    }
    "#);
    assert_eq!(folder.names(), ["state.json"]);
}

#[test]
fn a_restart_goes_on_where_the_migration_stood() {
    let folder = Folder::new();
    for source in Stage::ALL {
        for stage in Stage::ALL {
            let state = State {
                source,
                stage,
                ..some_state()
            };
            let _ = fs::remove_file(folder.path());
            let (file, _) = StateFile::open(folder.path(), source).unwrap();
            file.write(&state).unwrap();
            let (_, kept) = StateFile::open(folder.path(), source).unwrap();
            assert_eq!(kept, state);
        }
    }
}

#[test]
fn a_missing_file_is_made_at_the_first_change_and_not_before() {
    let folder = Folder::new();
    StateFile::check(&folder.path(), Stage::Shadow).unwrap();
    let (file, state) = StateFile::open(folder.path(), Stage::ShadowNative).unwrap();
    assert_eq!(state, State::begin(Stage::ShadowNative));
    assert_eq!(folder.names(), [""; 0]);
    file.write(&state).unwrap();
    assert_eq!(folder.names(), ["state.json"]);
}

#[test]
fn under_another_source_the_flag_wins_for_good() {
    let folder = Folder::new();
    let recorded = render(&some_state()).unwrap();
    let path = folder.write(&recorded);
    StateFile::check(&path, Stage::Shadow).unwrap();
    assert_eq!(folder.read(), recorded, "a check changes nothing");
    let (_, state) = StateFile::open(path.clone(), Stage::Native).unwrap();
    assert_eq!(state, State::begin(Stage::Native));
    let (_, state) = StateFile::open(path, Stage::Shadow).unwrap();
    assert_eq!(
        state,
        State::begin(Stage::Shadow),
        "no former stage is back"
    );
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_and_left_alone() {
    let folder = Folder::new();
    let whole = render(&some_state()).unwrap();
    let content = whole.trim_end();
    for end in 0..content.len() {
        let path = folder.write(&content[..end]);
        let said = refused(&path);
        assert!(
            said.starts_with("cannot use the state file FILE: "),
            "{said}"
        );
        assert_eq!(folder.read(), content[..end]);
    }
    let path = folder.write(content);
    let (_, state) = StateFile::open(path, Stage::Shadow).unwrap();
    assert_eq!(state, some_state());
}

#[test]
fn a_file_with_any_byte_altered_is_refused_or_means_something() {
    let folder = Folder::new();
    let whole = render(&some_state()).unwrap().into_bytes();
    for place in 0..whole.len() {
        for byte in [0, b'"', b'9', b'{', 0xff] {
            let mut altered = whole.clone();
            altered[place] = byte;
            let path = folder.write(&altered);
            match StateFile::open(path, Stage::Shadow) {
                Ok((_, state)) => assert_eq!(state.source, Stage::Shadow),
                Err(error) => assert!(matches!(error, StateFileError::Corrupt { .. })),
            }
        }
    }
}

#[test]
fn what_cannot_be_understood_is_named_with_its_reason() {
    let folder = Folder::new();
    let whole = render(&some_state()).unwrap();
    let mut not_text = whole.clone().into_bytes();
    let stage = whole.find("shadow-native").unwrap();
    not_text[stage] = 0xff;
    let too_long = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
    for (content, why) in [
        (Vec::new(), "it is empty"),
        (b" \n".to_vec(), "it is empty"),
        (
            whole.replace("migration/1", "migration/2").into_bytes(),
            "its schema is `k8s-relay/migration/2`, expected `k8s-relay/migration/1`",
        ),
        (
            whole.replace("shadow-native", "shadows").into_bytes(),
            "unknown variant `shadows`, expected one of `legacy`, `shadow`, `shadow-native`, `native` at line 4",
        ),
        (
            whole.replace("\"forced\"", "\"force\"").into_bytes(),
            "unknown field `force`, expected one of",
        ),
        (b"{\"schema\": 1}".to_vec(), "invalid type: integer `1`"),
        (b"{}".to_vec(), "missing field `schema`"),
        (vec![b'['; 10_000], "invalid type"),
        ((whole.clone() + "{}").into_bytes(), "trailing characters"),
        (not_text, "invalid unicode code point"),
        (too_long, "it is longer than 16384 bytes"),
    ] {
        let path = folder.write(content);
        let said = refused(&path);
        let begin = format!("cannot use the state file FILE: {why}");
        assert!(said.starts_with(&begin), "{said}\ninstead of\n{begin}");
        assert!(said.ends_with("; delete it to start at --source"));
    }
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    let no_file = "cannot read the state file FILE: it is not a regular file";
    assert_eq!(refused(&folder.path()), no_file);
    let pipe = folder.0.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert_eq!(refused(&pipe), no_file);
}

#[test]
fn a_folder_that_cannot_take_the_file_stops_the_start() {
    let folder = Folder::new();
    let said = refused(&folder.0.path().join("missing/state.json"));
    assert!(
        said.starts_with("cannot write the state file FILE: "),
        "{said}"
    );
    let inside_a_file = folder.write("").join("state.json");
    let said = refused(&inside_a_file);
    assert!(
        said.starts_with("cannot read the state file FILE: "),
        "{said}"
    );
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let folder = Folder::new();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    fs::create_dir(folder.path()).unwrap();
    let error = file.write(&state).unwrap_err();
    assert!(matches!(error, StateFileError::Unwritable { .. }));
    assert_eq!(folder.names(), ["state.json"]);
}

#[test]
fn what_a_killed_process_left_is_replaced_and_never_written_through() {
    let folder = Folder::new();
    let other = folder.0.path().join("other");
    fs::write(&other, "of somebody else").unwrap();
    symlink(&other, folder.0.path().join("state.json.new")).unwrap();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    file.write(&state).unwrap();
    assert_eq!(fs::read_to_string(other).unwrap(), "of somebody else");
    assert_eq!(folder.names(), ["other", "state.json"]);
}

#[test]
fn a_symbolic_link_stays_one() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let target = elsewhere.write(render(&some_state()).unwrap());
    symlink(&target, folder.path()).unwrap();
    let (file, _) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    file.write(&State::begin(Stage::Shadow)).unwrap();
    assert!(fs::symlink_metadata(folder.path()).unwrap().is_symlink());
    let (_, state) = StateFile::open(target, Stage::Shadow).unwrap();
    assert_eq!(state, State::begin(Stage::Shadow));
}

#[test]
fn a_symbolic_link_to_a_file_that_is_not_there_yet_stays_one() {
    for is_relative in [true, false] {
        let folder = Folder::new();
        let below = folder.0.path().join("below");
        fs::create_dir(&below).unwrap();
        symlink("kept.json", below.join("second")).unwrap();
        let first = match is_relative {
            true => PathBuf::from("below/second"),
            false => below.join("second"),
        };
        symlink(first, folder.path()).unwrap();
        let (file, _) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
        file.write(&some_state()).unwrap();
        assert!(fs::symlink_metadata(folder.path()).unwrap().is_symlink());
        assert_eq!(folder.names(), ["below", "state.json"]);
        let kept = fs::read_to_string(below.join("kept.json")).unwrap();
        assert_eq!(kept, render(&some_state()).unwrap());
    }
}

#[test]
fn a_symbolic_link_into_a_folder_that_is_not_there_is_refused_at_the_start() {
    let folder = Folder::new();
    symlink("gone/state.json", folder.path()).unwrap();
    insta::assert_snapshot!(
        refused(&folder.path()),
        @"cannot write the state file FILE: No such file or directory (os error 2)"
    );
    let turning = folder.0.path().join("turning");
    symlink("turning", &turning).unwrap();
    insta::assert_snapshot!(
        refused(&turning),
        @"cannot read the state file FILE: Too many levels of symbolic links (os error 40)"
    );
}

#[tokio::test]
async fn each_change_is_kept_and_the_last_one_before_the_end() {
    let folder = Folder::new();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    let (states, changes) = states(state);
    let (writes, written) = written();
    let keeper = file.keep(changes, writes, SECOND);
    states.send(some(1)).unwrap();
    states.send(some(2)).unwrap();
    drop(states);
    keeper.await.unwrap();
    let (_, kept) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    assert_eq!(kept, some_state());
    let last = Written {
        number: 2,
        error: None,
    };
    assert_eq!(*written.borrow(), last);
}

#[tokio::test]
async fn without_a_change_nothing_is_written() {
    let folder = Folder::new();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    let (states, changes) = states(state);
    drop(states);
    file.keep(changes, written().0, SECOND).await.unwrap();
    assert_eq!(folder.names(), [""; 0]);
}

#[tokio::test]
async fn a_state_is_said_to_be_written_when_the_file_has_it_and_not_before() {
    let folder = Folder::new();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    let (states, changes) = states(state);
    let (writes, mut written) = written();
    let keeper = file.keep(changes, writes, SECOND * 3600);
    let scenario = async {
        // A folder in its place cannot be replaced.
        fs::create_dir(folder.path()).unwrap();
        states.send(some(1)).unwrap();
        let failed = written.wait_for(|written| written.number == 1).await;
        let error = failed.unwrap().error.clone().unwrap();
        assert!(error.starts_with("cannot write the state file "), "{error}");
        assert!(error.contains("(os error "), "with its cause: {error}");
        fs::remove_dir(folder.path()).unwrap();
        states.send(some(2)).unwrap();
        let done = written.wait_for(|written| written.number == 2).await;
        assert_eq!(done.unwrap().error, None);
        assert!(folder.read().contains("shadow-native"));
        drop(states);
    };
    let (kept, ()) = tokio::join!(keeper, scenario);
    kept.unwrap();
}

#[tokio::test]
async fn a_write_that_failed_is_tried_again() {
    let folder = Folder::new();
    let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    let (states, changes) = states(state);
    let (writes, mut written) = written();
    fs::create_dir(folder.path()).unwrap();
    states.send(some(1)).unwrap();
    let keeper = file.keep(changes, writes, Duration::from_millis(1));
    let scenario = async {
        let failed = |written: &Written| written.error.is_some();
        written.wait_for(failed).await.unwrap();
        fs::remove_dir(folder.path()).unwrap();
        written.wait_for(|written| !failed(written)).await.unwrap();
        drop(states);
    };
    let both = async { tokio::join!(keeper, scenario).0 };
    timeout(SECOND * 60, both).await.unwrap().unwrap();
    let (_, kept) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
    assert_eq!(kept, some_state());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_tried_once_more_at_the_end() {
    for mended in [true, false] {
        let folder = Folder::new();
        let (file, state) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
        let (states, changes) = states(state);
        let left = folder.0.path().join("state.json.new");
        fs::create_dir(&left).unwrap();
        states.send(some(1)).unwrap();
        let scenario = async {
            // Paused time goes on when the attempt has failed and the next one is waited for.
            tokio::time::sleep(SECOND).await;
            if mended {
                fs::remove_dir(&left).unwrap();
            }
            drop(states);
        };
        let keeper = file.keep(changes, written().0, SECOND * 3600);
        let (kept, ()) = tokio::join!(keeper, scenario);
        assert_eq!(kept.is_ok(), mended, "the end says whether it is kept");
        let (_, kept) = StateFile::open(folder.path(), Stage::Shadow).unwrap();
        assert_eq!(kept == some_state(), mended);
    }
}
