//! A broker too old for the native client: a 3.9.2 that says it is a 0.10.

use crate::program::wait_for;
use crate::{clusters, lots, order, place};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;
/// Of 0.10.0: key, lowest and highest version.
const OLD: [[i16; 3]; 8] = [[0, 0, 2], [1, 0, 2], [2, 0, 0], [3, 0, 1], [8, 0, 2], [9, 0, 1], [10, 0, 0], [18, 0, 0]];

/// Stands before a broker and answers for it when it is asked for its versions.
fn old_broker(real: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let real = real.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let real = TcpStream::connect(&real).unwrap();
            std::thread::spawn(move || relay(client.unwrap(), real));
        }
    });
    address
}

fn relay(mut client: TcpStream, mut real: TcpStream) -> std::io::Result<()> {
    loop {
        let request = read_frame(&mut client)?;
        let [key, version] = [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
        if key == API_VERSIONS {
            write_frame(&mut client, &versions(&request[4..8], version))?;
        } else {
            write_frame(&mut real, &request)?;
            let answer = read_frame(&mut real)?;
            write_frame(&mut client, &answer)?;
        }
    }
}

/// Every answer is of version 0: correlation id, error code, number of rows, rows.
fn versions(correlation_id: &[u8], asked: i16) -> Vec<u8> {
    let (error, rows) = if asked == 0 { (0, &OLD[..]) } else { (UNSUPPORTED_VERSION, &OLD[..0]) };
    let numbers = rows.iter().flatten().flat_map(|number| number.to_be_bytes());
    let head = i16::to_be_bytes(error).into_iter().chain((rows.len() as u32).to_be_bytes());
    correlation_id.iter().copied().chain(head).chain(numbers).collect()
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
}

#[test]
fn auto_goes_on_with_the_classic_client_and_loses_nothing() {
    let Some(cluster) = clusters().find(|cluster| cluster.get("VERSION") == "3.9.2") else { return };
    let address = old_broker(cluster.bootstrap());
    let codes: Vec<String> = (0..9).map(|n| format!("L-{n}")).collect();
    let orders: String = codes.iter().map(|code| order(code, "Italia") + "\n").collect();

    let auto = place("auto", "");
    auto.write("orders.jsonl", &orders);
    let args = ["run", "--orders", "orders.jsonl", "--speed", "max", "--until-idle", "--broker", &address];
    let said = String::from_utf8(auto.run_ok(&args).stderr).unwrap();
    let reason = "Produce: the broker knows versions 0 to 2, this client 3 to 13";
    let takes_over = format!("{reason}: older than 0.11, so the classic client takes over");
    assert_eq!(said.matches(&takes_over).count(), 1, "{said}");
    for event in ["lot.received", "lot.completed"] {
        assert_eq!(lots(cluster, "auto", event), codes, "{event}");
    }

    let native = place("native", "");
    let text = std::fs::read_to_string(native.path("config.toml")).unwrap();
    native.write("config.toml", &text.replace("[kafka]", "[kafka]\nclient = 'native'"));
    let factory = native.start(&["run", "--demo", "--broker", &address]);
    wait_for("the reason", || factory.said().contains(reason));
    assert_eq!(factory.health()["status"], "degraded");
    assert!(!factory.said().contains("takes over"));
}
