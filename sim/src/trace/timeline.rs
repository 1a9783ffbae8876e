//! A trace as one HTML page that needs nothing else: a lane per node, what it believes, what it
//! sends, what befalls it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::record::{Belief, Record, Way, What};

const PAGE: &str = include_str!("timeline.html");
/// Where the data goes into the page.
const DATA_AT: &str = "/*DATA*/null";
/// Where the title goes.
const TITLE_AT: &str = "TITLE";

/// What stands over the picture.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// One line: what was run.
    pub title: String,
    /// The lanes, from the top.
    pub nodes: Vec<String>,
    /// The command that repeats the run, if there is one.
    pub replay: Option<String>,
}

/// The page that shows `records`.
pub fn page(heading: &Heading, records: &[Record]) -> String {
    let data = data(heading, records).to_string();
    // No text in the data can end the script that it stands in.
    let data =
        data.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    let title = heading.title.replace('&', "&amp;").replace('<', "&lt;");
    PAGE.replace(TITLE_AT, &title).replace(DATA_AT, &data)
}

/// Microseconds, which is as exact as a picture needs.
fn at(record: &Record) -> Value {
    json!(record.at / 1_000)
}

/// The tables of the page, as its script reads them.
#[derive(Default)]
struct Tables {
    /// `[sent, from, to, arrived or null, fate, way, length, words]`; fate: 0 arrived, 1 lost, 2 a
    /// copy, 3 under way at the end.
    sends: Vec<[Value; 8]>,
    /// Where in `sends` a payload stands, and whether a copy of it has arrived.
    by_id: BTreeMap<u64, (usize, bool)>,
    /// `[at, observer, subject, state, epoch, incarnation]`.
    views: Vec<Value>,
    /// `[from, until or null, node, why it ended]`.
    lives: Vec<[Value; 4]>,
    running: BTreeMap<u32, usize>,
    /// `[at, node, microseconds ahead, parts per million]`.
    clocks: Vec<Value>,
    /// `[from, until or null, family, senders, receivers, words]`.
    faults: Vec<[Value; 6]>,
    by_fault: BTreeMap<u32, usize>,
    /// `[at, node or null, words]`.
    notes: Vec<Value>,
    fail: Option<Value>,
}

fn data(heading: &Heading, records: &[Record]) -> Value {
    let mut tables = Tables::default();
    records.iter().for_each(|record| tables.add(record));
    let Tables { sends, views, lives, clocks, faults, notes, fail, .. } = tables;
    json!({
        "title": heading.title, "nodes": heading.nodes, "replay": heading.replay,
        "end": records.last().map_or(json!(0), at),
        "sends": sends, "views": views, "lives": lives, "clocks": clocks, "faults": faults,
        "notes": notes, "fail": fail,
    })
}

impl Tables {
    fn add(&mut self, record: &Record) {
        let (at, node) = (at(record), json!(record.node));
        match &record.what {
            What::Start { .. } => {
                self.running.insert(record.node.unwrap_or(0), self.lives.len());
                self.lives.push([at, Value::Null, node, Value::Null]);
            }
            What::Stop { why } => {
                if let Some(life) = self.running.remove(&record.node.unwrap_or(0)) {
                    self.lives[life][1] = at;
                    self.lives[life][3] = json!(why);
                }
            }
            What::Send { peer, id, way, len, says } => {
                self.by_id.insert(*id, (self.sends.len(), false));
                let way = u8::from(*way == Way::Stream);
                self.sends.push([
                    at,
                    node,
                    json!(peer),
                    Value::Null,
                    json!(3),
                    json!(way),
                    json!(len),
                    json!(says),
                ]);
            }
            What::Arrive { id, .. } => self.arrived(*id, at),
            What::Drop { id, why, .. } => self.lost(*id, at, why),
            What::View { peer, state, epoch, incarnation } => {
                let state = match state {
                    Belief::Alive => 1,
                    Belief::Suspect => 2,
                    Belief::Dead => 3,
                    Belief::Left => 4,
                };
                self.views.push(json!([at, node, peer, state, epoch, incarnation]));
            }
            What::Clock { ahead_ns, drift_ppm } => {
                self.clocks.push(json!([at, node, ahead_ns / 1_000, drift_ppm]));
            }
            What::Begin { fault, family, from, to, text } => {
                self.by_fault.insert(*fault, self.faults.len());
                self.faults.push([
                    at,
                    Value::Null,
                    json!(family),
                    json!(from),
                    json!(to),
                    json!(text),
                ]);
            }
            What::End { fault } => {
                if let Some(place) = self.by_fault.remove(fault) {
                    self.faults[place][1] = at;
                }
            }
            What::Note { text } => self.notes.push(json!([at, node, text])),
            What::Fail { oracle, detail } => self.fail = Some(json!([at, oracle, detail])),
        }
    }

    fn arrived(&mut self, id: u64, at: Value) {
        let Some((place, has_arrived)) = self.by_id.get_mut(&id) else { return };
        let is_copy = std::mem::replace(has_arrived, true);
        let place = *place;
        if is_copy {
            let mut copy = self.sends[place].clone();
            (copy[3], copy[4]) = (at, json!(2));
            self.sends.push(copy);
        } else {
            (self.sends[place][3], self.sends[place][4]) = (at, json!(0));
        }
    }

    fn lost(&mut self, id: u64, at: Value, why: &str) {
        let Some(&(place, has_arrived)) = self.by_id.get(&id) else { return };
        if has_arrived {
            return;
        }
        let says = format!("{} ({why})", self.sends[place][7].as_str().unwrap_or_default());
        let send = &mut self.sends[place];
        (send[3], send[4], send[7]) = (at, json!(1), json!(says));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, node: u32, what: What) -> Record {
        Record { at: at * 1_000, node: Some(node), what }
    }

    #[test]
    fn payloads_lives_and_faults_are_put_together() {
        let send =
            |id| What::Send { peer: 1, id, way: Way::Datagram, len: 90, says: "ping".into() };
        let begin = What::Begin {
            fault: 4,
            family: "partition".into(),
            from: vec![0],
            to: vec![1],
            text: "cut".into(),
        };
        let records = [
            record(0, 0, What::Start { epoch: 9 }),
            record(1, 0, send(1)),
            record(2, 0, send(2)),
            record(2, 0, begin),
            record(2, 0, What::Drop { peer: 1, id: 2, why: "loss".into() }),
            record(3, 1, What::Arrive { peer: 0, id: 1 }),
            record(5, 1, What::Arrive { peer: 0, id: 1 }),
            record(6, 0, What::End { fault: 4 }),
            record(7, 0, What::Stop { why: "crash".into() }),
        ];
        let data = data(&Heading::default(), &records);
        assert_eq!(data["lives"], json!([[0, 7, 0, "crash"]]));
        assert_eq!(data["faults"], json!([[2, 6, "partition", [0], [1], "cut"]]));
        assert_eq!(data["sends"][0], json!([1, 0, 1, 3, 0, 0, 90, "ping"]));
        assert_eq!(data["sends"][1], json!([2, 0, 1, 2, 1, 0, 90, "ping (loss)"]));
        assert_eq!(data["sends"][2], json!([1, 0, 1, 5, 2, 0, 90, "ping"]), "the copy");
        assert_eq!(data["end"], json!(7));
    }

    #[test]
    fn no_text_ends_the_script_and_nothing_is_fetched() {
        let heading = Heading { title: "a <b>".into(), nodes: vec!["node 0".into()], replay: None };
        let page = page(&heading, &[record(1, 0, What::Note { text: "</script><script>".into() })]);
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(!page.contains(DATA_AT) && page.contains("a &lt;b>"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
