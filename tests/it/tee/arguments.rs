//! What the commands say about mistakes.

use crate::surface::run;

#[test]
fn arguments_that_do_not_fit_each_other_are_refused() {
    let relay = "--to=127.0.0.1:1";
    let reducer = "--reducer-listen=127.0.0.1:0";
    for (args, words) in [
        (
            &[relay][..],
            "there is nothing to do: give a second --to, or --record",
        ),
        (&[relay; 3], "--to is given once or twice"),
        (
            &[relay, reducer],
            "--reducer-listen compares two relays: give a second --to",
        ),
        (
            &[relay, relay, reducer],
            "give --reducer-listen once for each --to",
        ),
        (
            &[relay, relay, reducer, reducer, "--tap=127.0.0.1:0=r:1"],
            "give --reducer-listen once for each --to",
        ),
        (
            &[
                relay,
                "--listen=127.0.0.1:0",
                "--record=/no/such/folder/file",
            ],
            "cannot record into /no/such/folder/file",
        ),
        (
            &[relay, relay, "--listen=192.0.2.1:1"],
            "cannot listen on 192.0.2.1:1",
        ),
    ] {
        let ended = run(&[], &[&["tee"], args].concat());
        assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_code_2() {
    for (args, words) in [
        (&["tee"][..], "--to <HOST:PORT>"),
        (&["tee", "--to=nowhere"], "expected HOST:PORT"),
        (
            &["tee", "--to=a:1", "--tap=here=r:1"],
            "`here` is not an address with a port",
        ),
        (
            &["tee", "--to=a:1", "--tap=127.0.0.1:1=r"],
            "expected HOST:PORT",
        ),
        (&["tee", "--to=a:1", "--backlog=0"], "invalid value '0'"),
        (
            &["tee", "--to=a:1", "--settle=10"],
            "expected a number with a unit",
        ),
        (&["replay", "file"], "--to <HOST:PORT>"),
        (
            &["replay", "file", "--to=a:1", "--speed=0"],
            "not between 0.001 and 1000000",
        ),
        (
            &["replay", "file", "--to=a:1", "--speed=fast"],
            "neither a number nor `max`",
        ),
    ] {
        let ended = run(&[], args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_file_that_can_not_be_played_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other");
    std::fs::write(&file, "something else").unwrap();
    for (path, words) in [
        (
            file.as_path(),
            "other: at byte 0: this is not a recording of streams",
        ),
        (dir.path(), "cannot read "),
        (&dir.path().join("none"), "none (No such file or directory"),
    ] {
        let ended = run(&[], &["replay", path.to_str().unwrap(), "--to=127.0.0.1:1"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}
