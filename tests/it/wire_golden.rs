//! The wire against recorded bytes: `compat/golden/messages.json`, the captures of the legacy
//! relay, and the sample bytes of protocol 19.

use std::net::Ipv4Addr;

use k8s_relay::wire::messages::*;
use k8s_relay::wire::{Encode, PlainReader, Reader, Row, Value as Field, Writer, decode, json};
use serde_json::Value;

use crate::support::wire::unhex;

const T: u64 = 1_700_000_000_123_456_789;
const VERSION_INFO: &str = "15cd853dfe9c97173601000000000000 0b00000000000000";
const HANDSHAKE: &str = "04224d184040c021000000f40515cd853dfe9c971724020c000372656c61792d31140080180200000400000000000000";
const NODE: &str = "04224d184040c033000000c415cd853dfe9c97179d0100000c00f4029f01110000000000070072656c61792d31190021640118009000000000000000000000000000";
const HEARTBEAT: &str = "04224d184040c00a00008015cd853dfe9c9717880100000000";

fn golden(file: &str) -> Value {
    let path = format!("{}/compat/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_golden_message_is_read_and_written_byte_for_byte() {
    let golden = golden("messages.json");
    let cases = golden.as_array().unwrap();
    assert_eq!(cases.len(), 112);
    for case in cases {
        let label = format!("{} {}", case["message"], case["case"]);
        let bytes = unhex(case["hex"].as_str().unwrap());
        let (timestamp, message, len) = decode(&bytes).unwrap().unwrap();
        assert_eq!(
            (timestamp, len),
            (case["timestamp"].as_u64().unwrap(), bytes.len()),
            "{label}"
        );
        assert_eq!(
            u64::from(message.row().id),
            case["rpc_id"].as_u64().unwrap(),
            "{label}"
        );

        let mut shown = json::to_json(&message);
        assert_eq!(
            shown.shift_remove("msg").unwrap(),
            case["message"],
            "{label}"
        );
        assert_eq!(Value::Object(shown), case["fields"], "{label}");

        let mut written = Vec::new();
        message.encode(timestamp, &mut written).unwrap();
        assert_eq!(written, bytes, "{label}");
        assert_eq!(message.encoded_len(), bytes.len(), "{label}");
    }
}

#[test]
fn the_golden_messages_name_every_row_of_the_table() {
    let golden = golden("messages.json");
    for row in Row::ALL {
        assert!(
            golden
                .as_array()
                .unwrap()
                .iter()
                .any(|case| case["message"] == row.name),
            "{}",
            row.name
        );
    }
    assert_eq!(Row::ALL.len(), 23);
    let early: Vec<_> = Row::ALL
        .iter()
        .filter(|row| row.before_connect)
        .map(|row| row.id)
        .collect();
    assert_eq!(early, [310, 548, 409]);
}

#[test]
fn the_protocol_document_describes_every_row_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let document = std::fs::read_to_string(path).unwrap();
    let golden = golden("messages.json");
    for row in Row::ALL {
        let (name, id, size) = (row.name, row.id, row.size);
        let kind = if row.texts == 0 { "fixed" } else { "dynamic" };
        let early = if row.before_connect { "yes " } else { "" };
        let overview = format!("\n| `{name}` | {id} | {kind} | {size} | {early}|");
        assert!(document.contains(&overview), "{overview}");
        let heading = format!(" `{name}`: {id}, {kind}, {size} bytes\n");
        let section = document.split_once(&heading).expect(&heading).1;
        let section = section.split("\n#").next().unwrap();

        // The rows of its table follow each other without a hole, up to the fixed size.
        let cells = section.lines().filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?, cells.next()?))
        });
        let cells: Vec<(usize, &str, &str)> = cells.collect();
        let mut end = 0;
        for (offset, of, field) in &cells {
            assert_eq!(*offset, end, "{name}: {field}");
            end += bytes_of(of);
        }
        assert_eq!(end, size, "{name}");

        let mut texts = Vec::new();
        let sample = golden.as_array().unwrap();
        let sample = sample.iter().find(|case| case["message"] == name).unwrap();
        let bytes = unhex(sample["hex"].as_str().unwrap());
        let (_, message, _) = decode(&bytes).unwrap().unwrap();
        message.visit(|name, value| match value {
            Field::Text(_) => texts.push(name),
            Field::Number(_) | Field::Address(_) | Field::Bytes(_) => {
                let named = |cell: &&(usize, &str, &str)| cell.2.starts_with(name);
                assert_eq!(cells.iter().filter(named).count(), 1, "{name}");
            }
        });
        let lengths: Vec<_> = cells
            .iter()
            .filter_map(|(offset, _, field)| Some((*offset, field.strip_prefix("length of ")?)))
            .collect();
        let (_, with_slots) = texts.split_last().unwrap_or((&"", &[]));
        let slots = with_slots.iter().enumerate();
        let slots: Vec<_> = slots
            .map(|(at, text)| (row.slots + 2 * at, *text))
            .collect();
        assert_eq!(lengths, slots, "{name}");
        if !texts.is_empty() {
            let prose = section.split_whitespace().collect::<Vec<_>>().join(" ");
            let strings = format!("Strings: `{}`", texts.join("`, `"));
            let rest = prose.split_once(&strings).expect(&strings).1;
            assert!(!rest.starts_with(", `"), "{strings} and more");
        }
    }
}

/// How many bytes a type of the protocol document takes.
fn bytes_of(of: &str) -> usize {
    match of {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        array => {
            let count = array.trim_start_matches("u8[").trim_end_matches(']');
            count.trim_end_matches(" bytes").parse().expect(array)
        }
    }
}

#[test]
fn padding_of_other_senders_is_ignored_and_ours_is_zero() {
    for (message, padding) in [
        (
            Message::from(VersionInfo {
                major: 0,
                minor: 11,
                patch: 0,
            }),
            2..4,
        ),
        (Message::from(ReportCpuCores { cpu_core_count: 4 }), 2..4),
        (Message::from(MetadataComplete { time: 9 }), 2..8),
        (Message::from(PodResync { resync_count: 2 }), 2..8),
    ] {
        let mut bytes = Vec::new();
        message.encode(T, &mut bytes).unwrap();
        let place = 8 + padding.start..8 + padding.end;
        assert!(bytes[place.clone()].iter().all(|&byte| byte == 0));
        bytes[place].fill(0xee);
        assert_eq!(decode(&bytes).unwrap().unwrap(), (T, message, bytes.len()));
    }
}

#[test]
fn json_shows_bytes_that_are_no_text_as_hex() {
    let pod = PodNewWithName {
        ip: Ipv4Addr::new(10, 1, 2, 3),
        owner_kind: 77,
        is_host_network: 1,
        uid: b"u",
        owner_name: b"o",
        pod_name: b"\xff\xfe",
        owner_uid: b"",
        ns: b"n",
        version: b"v",
    };
    let shown = serde_json::to_string(&json::to_json(&pod.into())).unwrap();
    assert_eq!(
        shown,
        r#"{"msg":"pod_new_with_name","ip_u32":50462986,"owner_kind":77,"is_host_network":1,"uid":"u","owner_name":"o","pod_name":{"$bytes_hex":"fffe"},"owner_uid":"","ns":"n","version":"v","ip":"10.1.2.3"}"#
    );
}

/// What a capture holds, in the form of the recordings.
fn read_capture(bytes: &[u8]) -> Vec<Value> {
    let mut reader = Reader::new();
    reader.push(bytes);
    let mut shown = Vec::new();
    while let Some((_, message)) = reader.next_message().unwrap() {
        shown.push(Value::Object(json::to_json(&message)));
    }
    reader.finish().unwrap();
    shown
}

#[test]
fn the_first_bytes_of_every_recorded_connection_are_its_handshake() {
    let folder = format!("{}/compat/golden/relay", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".json") {
            continue;
        }
        let scenario = golden(&format!("relay/{name}"));
        let Some(raw) = scenario["raw_first_bytes_hex"].as_str() else {
            continue;
        };
        let shown = Value::Array(read_capture(&unhex(raw)));
        // As text, so that the order of the fields counts.
        assert_eq!(
            shown.to_string(),
            scenario["handshake"].to_string(),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen > 80, "only {seen} captures");
}

#[test]
fn recorded_outputs_are_shown_field_by_field_in_the_same_order() {
    let scenario = golden("relay/update_live_owner_change.json");
    let recorded = &scenario["output"][0];
    let text = |key: &str| recorded[key].as_str().unwrap().as_bytes();
    let pod = PodNewWithName {
        ip: recorded["ip"].as_str().unwrap().parse().unwrap(),
        owner_kind: recorded["owner_kind"].as_u64().unwrap() as u8,
        is_host_network: 0,
        uid: text("uid"),
        owner_name: text("owner_name"),
        pod_name: text("pod_name"),
        owner_uid: text("owner_uid"),
        ns: text("ns"),
        version: text("version"),
    };
    assert_eq!(
        Value::Object(json::to_json(&pod.into())).to_string(),
        recorded.to_string()
    );
}

#[test]
fn the_sample_bytes_of_the_protocol_are_read() {
    let bytes = unhex(
        &[VERSION_INFO, HANDSHAKE, NODE, HEARTBEAT]
            .concat()
            .replace(' ', ""),
    );
    let names: Vec<_> = read_capture(&bytes)
        .iter()
        .map(|m| m["msg"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "version_info",
            "connect",
            "report_cpu_cores",
            "cloud_platform",
            "set_node_info",
            "metadata_complete",
            "heartbeat"
        ]
    );
}

fn push(writer: &mut Writer, out: &mut Vec<u8>, plain: &mut Vec<u8>, message: &impl Encode) {
    plain.extend_from_slice(writer.push(T, message, out).unwrap());
}

#[test]
fn the_writer_opens_a_connection_as_the_samples_do() {
    let (mut writer, mut out, mut plain) = (Writer::new(), Vec::new(), Vec::new());
    push(
        &mut writer,
        &mut out,
        &mut plain,
        &VersionInfo {
            major: 0,
            minor: 11,
            patch: 0,
        },
    );
    assert_eq!(
        out,
        unhex(&VERSION_INFO.replace(' ', "")),
        "the first message leaves at once, plain"
    );
    assert_eq!(writer.pending(), 0);
    writer.flush(&mut out);
    assert_eq!(out.len(), 24, "nothing pending writes nothing");

    push(
        &mut writer,
        &mut out,
        &mut plain,
        &Connect {
            collector_type: 3,
            hostname: b"relay-1",
        },
    );
    push(
        &mut writer,
        &mut out,
        &mut plain,
        &ReportCpuCores { cpu_core_count: 4 },
    );
    assert_eq!((out.len(), writer.pending()), (24, 36));
    writer.flush(&mut out);
    assert_eq!(
        out[24..31],
        unhex(HANDSHAKE)[..7],
        "the legacy's frame header"
    );

    let before = out.len();
    push(&mut writer, &mut out, &mut plain, &Heartbeat {});
    writer.flush(&mut out);
    assert_eq!(
        out[before..],
        unhex(HEARTBEAT),
        "what does not shrink is stored"
    );

    let mut recording = PlainReader::new();
    recording.push(&plain);
    let mut shown = Vec::new();
    while let Some((timestamp, message)) = recording.next_message().unwrap() {
        assert_eq!(timestamp, T);
        shown.push(Value::Object(json::to_json(&message)));
    }
    assert_eq!(shown, read_capture(&out));
}
