use chinwag::protocol::time::WallTime;
use chinwag::{AddServiceError, Context, Handler, Methods, Node, Service, View};
use chinwag_sim::{check, secs};

use super::*;
use crate::wire::{Compared, Fetched, OriginClaim, RootsReply, Ticket, Turn};
use crate::{Consistency, MemoryStorage, StoreExtension};

/// How a peer answers wrongly.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Keyspaces,
    Name,
    Answers,
    Sums,
    Endless,
    Hashes,
    Documents,
    Beyond,
    Again,
}

const LIES: [Lie; 9] = [
    Lie::Keyspaces,
    Lie::Name,
    Lie::Answers,
    Lie::Sums,
    Lie::Endless,
    Lie::Hashes,
    Lie::Documents,
    Lie::Beyond,
    Lie::Again,
];

/// Under the name of a store, one that is none.
struct Liar(Lie);

impl Service for Liar {
    const NAME: &'static str = StoreService::NAME;
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Roots>().add::<Compare>().add::<Fetch>();
    }
}

impl Handler<Roots> for Liar {
    async fn handle(&self, _: &Context, _: View<Roots>) -> Result<RootsReply, Status> {
        let count = if matches!(self.0, Lie::Keyspaces) { 1_000 } else { 1 };
        let name = |at: usize| {
            if matches!(self.0, Lie::Name) { String::new() } else { "k".repeat(at + 1) }
        };
        Ok(RootsReply {
            roster: crate::roster::Roster::default().told(WallTime::from_nanos(0)),
            roots: (0..count).map(|at| (name(at), 7)).collect(),
        })
    }
}

impl Handler<Compare> for Liar {
    async fn handle(&self, _: &Context, asked: View<Compare>) -> Result<Vec<Compared>, Status> {
        Ok(match self.0 {
            Lie::Answers => Vec::new(),
            Lie::Sums => vec![Compared::Children(vec![1; 15]); asked.ranges.len()],
            Lie::Endless => vec![Compared::Children(vec![1; 16]); asked.ranges.len()],
            Lie::Hashes => {
                let other = |start: u64| Compared::Listed(vec![(!start, 1, 1)]);
                // Of the range of all hashes every hash is: one level down first.
                let answer = |range: &rkyv::Archived<(u8, u64)>| {
                    if range.0 == 0 {
                        Compared::Children(vec![1; 16])
                    } else {
                        other(range.1.to_native())
                    }
                };
                asked.ranges.iter().map(answer).collect()
            }
            _ => vec![Compared::Listed(vec![(5, 1, 1)]); asked.ranges.len()],
        })
    }
}

impl Handler<Fetch> for Liar {
    async fn handle(&self, _: &Context, _: View<Fetch>) -> Result<Fetched, Status> {
        let stamp = if matches!(self.0, Lie::Documents) { 0_u64 } else { 5 };
        let more = match self.0 {
            Lie::Beyond => Some((9, None)),
            Lie::Again => Some((0, None)),
            _ => None,
        };
        let documents = vec![Doc { key: vec![1], stamp: stamp.into(), node: 1, value: None }];
        let turn = Turn { epoch: 1, count: 1 }.into();
        let origin = OriginClaim { turn, cleansed: 0.into(), ticket: Ticket::default() };
        Ok(Fetched { origin, documents, more })
    }
}

/// An exchange with a peer that answers nonsense fails, soon, and leaves what is here as it is.
#[test]
fn a_peer_that_answers_nonsense_is_given_up() {
    for lie in LIES {
        check(0..1, |world| async move {
            let nodes = world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
            nodes[1].add_service(Liar(lie)).expect("added");
            let store = nodes[0]
                .add_extension(StoreExtension::new(MemoryStorage::new()))
                .await
                .expect("it starts");
            let keyspace = store.keyspace("k").expect("a name");
            for key in 0..100_u64 {
                keyspace.put(key, "to stay", Consistency::None).await.expect("local");
            }
            let begun = world.now();
            let error = Exchange::run(&store.shared.replica, nodes[1].id(), secs(1))
                .await
                .expect_err("a lie");
            assert!(error.message.contains("not allowed"), "{lie:?}: {error}");
            assert!(world.now() - begun < secs(5), "{lie:?}");
            assert_eq!(store.stats().documents, 100, "{lie:?}");
        });
    }
}
