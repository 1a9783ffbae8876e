use super::*;

#[test]
fn lines_that_are_commands() {
    let table = [
        ("members", Command::Members),
        ("call 2 hello  there", Command::Call { id: NodeId::new(2), text: "hello  there".into() }),
        ("call 2", Command::Call { id: NodeId::new(2), text: String::new() }),
        ("select one", Command::Select(Consistency::One)),
        ("select local-quorum", Command::Select(Consistency::LocalQuorum)),
        ("select EachQuorum", Command::Select(Consistency::EachQuorum)),
        ("set role=a=b", Command::Set { key: "role".into(), value: "a=b".into() }),
        ("broadcast to all", Command::Broadcast("to all".into())),
        ("now", Command::Now),
        ("stats", Command::Stats),
        ("leave", Command::Leave),
    ];
    for (line, command) in table {
        assert_eq!(Command::parse(line), Ok(command), "{line}");
    }
}

#[test]
fn lines_that_are_none_say_why() {
    let table = [
        ("", "", "commands: "),
        ("frobnicate 3", "frobnicate", "commands: "),
        ("MEMBERS", "MEMBERS", "commands: "),
        ("members now", "members", "stands alone"),
        ("call", "call", "an id is a number"),
        ("call -1 x", "call", "an id is a number"),
        ("call 18446744073709551616 x", "call", "an id is a number"),
        ("select", "select", "levels: "),
        ("select four", "select", "levels: "),
        ("set", "set", "K=V"),
        ("set =v", "set", "K=V"),
    ];
    for (line, name, reason) in table {
        let answer = Command::parse(line).expect_err(line);
        assert_eq!(answer["reply"], name, "{line}");
        assert!(
            answer["error"].as_str().is_some_and(|error| error.contains(reason)),
            "{line}: {answer}"
        );
    }
}
