//! One agent and what can be asked of it.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::process::{Output, Stdio};

use crate::common::{AGENT, ANY_PORT, Cluster, ask, signal, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

#[tokio::test]
async fn every_command_is_answered_with_one_object() {
    let mut cluster = Cluster::of(2).await;
    let one = &mut cluster[0];

    let members = ask(one, "members").await;
    assert_eq!(
        (&members["local"]["id"], &members["members"][0]["id"]),
        (&json!(1), &json!(2)),
        "{members}"
    );
    assert_eq!(members["members"][0]["state"], "alive");

    let call = ask(one, "call 2 two  words, größer").await;
    assert_eq!((&call["id"], &call["text"]), (&json!(2), &json!("two  words, größer")), "{call}");
    assert!(call["round_trip_us"].is_u64(), "{call}");
    let stamps =
        ["before", "there", "after"].map(|name| call["stamps"][name].as_str().expect("a stamp"));
    assert!(stamps.is_sorted_by(|earlier, later| earlier < later), "{stamps:?}");
    assert_eq!(ask(one, "call 1 myself").await["text"], "myself");

    assert_eq!(ask(one, "select one").await["members"], json!([2]));
    assert_eq!(ask(one, "select none").await["members"], json!([]));

    let (earlier, later) = (ask(one, "now").await, ask(one, "now").await);
    assert!(later["stamp"].as_str() > earlier["stamp"].as_str(), "{earlier} {later}");
    assert!(later["micros"].is_u64() && later["counter"].is_u64(), "{later}");

    let stats = ask(one, "stats").await;
    assert!(
        stats["calls_out"].as_u64() >= Some(2) && stats["membership"]["datagrams_in"].is_u64(),
        "{stats}"
    );

    assert_eq!(ask(one, "broadcast to all").await, json!({ "reply": "broadcast", "bytes": 6 }));
    let heard = |event: &Value| event["event"] == "broadcast" && event["from"] == 1;
    let broadcast = within("the broadcast arrives", cluster[1].event(heard)).await;
    assert_eq!(broadcast["text"], "to all");
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_an_error_and_ends_nothing() {
    let mut cluster = Cluster::of(1).await;
    let long = format!("set k={}", "v".repeat(600));
    let too_long = "x".repeat((1 << 24) + 5);
    let table = [
        ("frobnicate", "frobnicate"),
        ("", ""),
        ("call", "call"),
        ("call two hello", "call"),
        ("call 9 nobody", "call"),
        ("select one", "select"),
        ("select seven", "select"),
        ("set", "set"),
        (&long, "set"),
        ("members please", "members"),
        ("\u{0}\u{1b}[31m", "\u{0}\u{1b}[31m"),
        (&too_long, ""),
    ];
    for (command, name) in table {
        let answer = ask(&mut cluster[0], command).await;
        assert_eq!(answer["reply"], name, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{answer}");
    }
    assert_eq!(ask(&mut cluster[0], "now").await["reply"], "now", "it goes on");
}

#[tokio::test]
async fn what_a_node_says_about_itself_reaches_the_others() {
    let mut cluster = Cluster::of(1).await;
    let seed = [cluster[0].addr().to_owned()];
    let more = ["--data-center", "eu-west", "--meta", "role=db", "--meta", "rack=3"];
    let epoch = cluster.start_with(2, ANY_PORT, &seed, &more).await.epoch();

    let joined = within("it joins", cluster[0].reports("joined", 2, epoch)).await;
    assert_eq!(joined["data_center"], "eu-west");
    let fields: Vec<_> =
        joined.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["at_ms", "event", "id", "epoch", "incarnation", "addr", "data_center"]);
    let metadata = json!({ "dc": "eu-west", "rack": "3", "role": "db" });
    assert_eq!(ask(&mut cluster[0], "members").await["members"][0]["metadata"], metadata);

    let metadata = json!({ "dc": "eu-west", "rack": "3", "role": "cache=1" });
    assert_eq!(ask(&mut cluster[1], "set role=cache=1").await["metadata"], metadata);
    within("it is updated", cluster[0].reports("updated", 2, epoch)).await;
    assert_eq!(ask(&mut cluster[0], "members").await["members"][0]["metadata"], metadata);
    assert_eq!(
        ask(&mut cluster[1], "set rack=").await["metadata"],
        json!({ "dc": "eu-west", "role": "cache=1" })
    );
}

#[tokio::test]
async fn sigterm_and_the_command_leave_in_good_order() {
    let mut cluster = Cluster::of(3).await;
    let epochs = [cluster[1].epoch(), cluster[2].epoch()];
    signal(&cluster[2], Signal::TERM);
    let status = within("it ends", cluster[2].ends()).await;
    assert_eq!(status.code(), Some(0));
    for at in [0, 1] {
        within("it is reported", cluster[at].reports("left", 3, epochs[1])).await;
    }

    let leave = ask(&mut cluster[1], "leave").await;
    assert_eq!((&leave["acked"], &leave["needed"]), (&json!(1), &json!(1)), "{leave}");
    let status = within("it ends", cluster[1].ends()).await;
    assert_eq!(status.code(), Some(0));
    within("it is reported", cluster[0].reports("left", 2, epochs[0])).await;
    within("it is alone", cluster[0].event(|event| event["event"] == "isolated")).await;
    assert!(!cluster[0].has_reported("died", 2) && !cluster[0].has_reported("died", 3));
}

#[tokio::test]
async fn the_end_of_stdin_ends_nothing_but_a_tethered_agent() {
    let mut cluster = Cluster::of(1).await;
    let mut untethered = Command::new(AGENT);
    untethered.args([
        "--id",
        "2",
        "--listen",
        ANY_PORT,
        "--preset",
        "local",
        "--json",
        "--seed",
        cluster[0].addr(),
    ]);
    untethered.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let mut untethered = untethered.spawn().expect("it starts");
    within("it joins", cluster[0].reports("joined", 2, 0)).await;
    assert_eq!(ask(&mut cluster[0], "call 2 hello").await["text"], "hello");
    assert!(untethered.try_wait().expect("ours").is_none(), "it runs");

    cluster[0].hang_up();
    assert!(within("it ends", cluster[0].ends()).await.success());
}

#[tokio::test]
async fn two_that_claim_one_id_are_told_so() {
    let mut cluster = Cluster::of(1).await;
    let seed = [cluster[0].addr().to_owned()];
    cluster.start(1, ANY_PORT, &seed).await;
    let addrs = [cluster[1].addr().to_owned(), seed[0].clone()];
    for (at, other) in addrs.into_iter().enumerate() {
        let conflict =
            within("it is noticed", cluster[at].event(|event| event["event"] == "conflict")).await;
        let own = cluster[at].addr();
        assert_eq!(conflict["id"], json!(1));
        assert_eq!((&conflict["known"], &conflict["other"]), (&json!(own), &json!(other)));
    }
}

#[tokio::test]
async fn clusters_of_other_names_stay_apart() {
    let mut cluster = Cluster::of(1).await;
    let mut seeds = vec![cluster[0].addr().to_owned()];
    let stranger = cluster.start_with(2, ANY_PORT, &seeds, &["--cluster", "another"]).await;
    seeds.insert(0, stranger.addr().to_owned());
    let epoch = cluster.start(3, ANY_PORT, &seeds).await.epoch();
    within("it joins", cluster[0].reports("joined", 3, epoch)).await;
    for (at, name) in [(0, "another"), (1, "chinwag")] {
        let is_foreign = |event: &Value| event["event"] == "foreign" && event["cluster"] == name;
        within("they notice each other", cluster[at].event(is_foreign)).await;
    }
    assert_eq!(ask(&mut cluster[1], "members").await["members"], json!([]));
    for at in [0, 2] {
        assert_eq!(
            ask(&mut cluster[at], "call 2 hello").await["text"],
            Value::Null,
            "it is not known"
        );
    }
}

#[tokio::test]
async fn mistakes_are_one_line_on_stderr_and_another_exit_code() {
    let tcp = TcpListener::bind(ANY_PORT).expect("bound");
    let tcp_addr = tcp.local_addr().expect("bound").to_string();
    let udp = UdpSocket::bind(ANY_PORT).expect("bound");
    let udp_addr = udp.local_addr().expect("bound").to_string();
    let well = ["--id", "1", "--listen", ANY_PORT];
    let long = format!("k={}", "v".repeat(600));
    let name = "n".repeat(300);
    let table: [(&[&str], i32, &[&str]); 15] = [
        (&["--id", "1", "--listen", &tcp_addr], 1, &[&tcp_addr, "in use"]),
        (&["--id", "1", "--listen", &udp_addr], 1, &[&udp_addr, "in use"]),
        (&["--id", "1", "--listen", "0.0.0.0:0"], 1, &["0.0.0.0"]),
        (&["--id", "1", "--listen", "192.0.2.1:7000"], 1, &["192.0.2.1:7000"]),
        (&["--id", "1", "--listen", "localhost"], 2, &["localhost", "--listen"]),
        (&["--id", "1", "--listen", "127.0.0.1:99999"], 2, &["127.0.0.1:99999", "--listen"]),
        (&["--id", "one", "--listen", ANY_PORT], 2, &["one", "--id"]),
        (&["--id", "1"], 2, &["--listen"]),
        (&[], 2, &["--id", "--listen"]),
        (&["--seed", "nowhere"], 2, &["nowhere", "HOST:PORT"]),
        (&["--preset", "moon"], 2, &["moon", "--preset"]),
        (&["--meta", "key"], 2, &["key", "K=V"]),
        (&["--meta", &long], 1, &["metadata"]),
        (&["--cluster", &name], 1, &["cluster", "255"]),
        (&["--frobnicate"], 2, &["--frobnicate"]),
    ];
    for (args, code, words) in table {
        let needs_the_rest = args.first().is_some_and(|first| *first != "--id");
        let rest = if needs_the_rest { &well[..] } else { &[] };
        let Output { status, stdout, stderr } = run(rest, args).await;
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(stdout, b"", "{args:?}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?} is told of {word}: {said}");
        }
    }
    let help = run(&[], &["--help"]).await;
    assert!(help.status.success() && help.stdout.starts_with(b"One node of a chinwag cluster"));
}

async fn run(args: &[&str], more: &[&str]) -> Output {
    let mut agent = Command::new(AGENT);
    let agent = agent.args(args).args(more).stdin(Stdio::null()).kill_on_drop(true);
    within("it ends", agent.output()).await
}

#[tokio::test]
async fn in_words_every_event_and_answer_is_a_line() {
    let mut agent = Command::new(AGENT);
    agent.args(["--id", "7", "--listen", ANY_PORT, "--tethered"]).kill_on_drop(true);
    agent.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = agent.spawn().expect("it starts");
    let mut stdin = agent.stdin.take().expect("piped");
    let asked = async {
        tokio::io::AsyncWriteExt::write_all(&mut stdin, b"select two\nleave\n").await?;
        agent.wait_with_output().await
    };
    let output = within("it leaves", asked).await;
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].contains(" s  listening  addr=127.0.0.1:") && lines[0].contains("  id=7  "),
        "{said}"
    );
    let words: BTreeSet<_> = lines[1].split("  ").collect();
    assert!(words.contains("select") && words.contains("level=Two"), "{said}");
    assert_eq!(lines[2], "  leave  acked=0  needed=0");
    assert!(output.status.success());
}
