//! Services and their methods.

use std::sync::Arc;

use chinwag::{
    AddServiceError, Code, Context, Fingerprint, Handler, Message, Methods, Service, Status, View,
};
use futures_lite::future::{or, zip};

use crate::Host;
use crate::probe::{Echo, Echoed, Hang, PATIENCE, Probe, cluster, echo};
use crate::tools::Tally;

/// The same names as `Probe`, with another layout of `echo`, and a method that it does not have.
struct Stranger;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct OtherEcho {
    text: String,
    more: u64,
}

impl Message for OtherEcho {
    type Reply = Echoed;
    const NAME: &'static str = "echo";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Missing;

impl Message for Missing {
    type Reply = ();
    const NAME: &'static str = "missing";
}

impl Service for Stranger {
    const NAME: &'static str = "probe";
    fn methods(_: &mut Methods<Self>) {}
}

impl Handler<OtherEcho> for Stranger {
    async fn handle(&self, _: &Context, _: View<OtherEcho>) -> Result<Echoed, Status> {
        Err(Status::new(Code::AppError, "not called"))
    }
}

impl Handler<Missing> for Stranger {
    async fn handle(&self, _: &Context, _: View<Missing>) -> Result<(), Status> {
        Err(Status::new(Code::AppError, "not called"))
    }
}

/// Lists one method twice.
struct Twice;

impl Service for Twice {
    const NAME: &'static str = "twice";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Missing>().add::<Missing>();
    }
}

impl Handler<Missing> for Twice {
    async fn handle(&self, _: &Context, _: View<Missing>) -> Result<(), Status> {
        Ok(())
    }
}

/// Has a method with somebody else's fingerprint.
struct Alike;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Copied;

impl Message for Copied {
    type Reply = ();
    const NAME: &'static str = "copied";
    const FINGERPRINT: Fingerprint = <Missing as Message>::FINGERPRINT;
}

impl Service for Alike {
    const NAME: &'static str = "alike";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Missing>().add::<Copied>();
    }
}

impl Handler<Missing> for Alike {
    async fn handle(&self, _: &Context, _: View<Missing>) -> Result<(), Status> {
        Ok(())
    }
}

impl Handler<Copied> for Alike {
    async fn handle(&self, _: &Context, _: View<Copied>) -> Result<(), Status> {
        Ok(())
    }
}

/// Has no name.
struct Nameless;

impl Service for Nameless {
    const NAME: &'static str = "";
    fn methods(_: &mut Methods<Self>) {}
}

/// Answers when it is told to.
#[derive(Clone, Default)]
struct Gate {
    begun: Arc<Tally>,
    open: Arc<Tally>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Pass;

impl Message for Pass {
    type Reply = u64;
    const NAME: &'static str = "pass";
}

impl Service for Gate {
    const NAME: &'static str = "gate";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Pass>();
    }
}

impl Handler<Pass> for Gate {
    async fn handle(&self, _: &Context, _: View<Pass>) -> Result<u64, Status> {
        self.begun.add();
        self.open.reaches(1).await;
        Ok(7)
    }
}

/// Called from another node and from its own; new calls are refused before and after the answers to
/// the old ones.
pub async fn a_removed_service_answers_calls_in_flight_and_refuses_new_ones(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let (two, gate) = (&nodes[1].0, Gate::default());
    two.add_service(gate.clone()).expect("added");
    let client = |from: usize| nodes[from].0.client::<Gate>(2).timeout(PATIENCE);
    let (other, own) = (client(0), client(1));
    let is_refused = async || {
        for from in [0, 1] {
            let status = client(from).call(&Pass).await.map(drop).expect_err("removed");
            assert_eq!((status.code, status.may_have_run()), (Code::UnknownService, false));
        }
    };
    let meanwhile = async {
        gate.begun.reaches(2).await;
        assert!(two.remove_service::<Gate>());
        is_refused().await;
        gate.open.add();
    };
    let ((first, second), ()) = zip(zip(other.call(&Pass), own.call(&Pass)), meanwhile).await;
    for answer in [first, second] {
        assert_eq!(answer.expect("it was in flight").to_native(), 7);
    }
    is_refused().await;
    assert_eq!(gate.begun.count(), 2, "no other call reached the handler");
}

/// Calls in flight go on when their service is removed.
pub async fn services_come_and_go_while_the_node_runs(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let (one, two) = (&nodes[0].0, &nodes[1].0);
    let other = one.client::<Alike>(2).call(&Missing).await.expect_err("not there");
    assert_eq!((other.code, other.may_have_run()), (Code::UnknownService, false));

    let hanging = &nodes[1].1;
    let client = one.client::<Probe>(2).timeout(PATIENCE);
    let call = async {
        panic!("it hangs, but {:?}", client.call(&Hang).await.map(drop));
    };
    let meanwhile = async {
        hanging.begun.reaches(1).await;
        assert!(two.remove_service::<Probe>());
        assert!(!two.remove_service::<Probe>(), "once");
        assert_eq!(echo(one, 2).await.expect_err("removed").code, Code::UnknownService);
        assert_eq!(hanging.dropped.count(), 0, "calls in flight go on");
    };
    or(meanwhile, call).await;
    hanging.dropped.reaches(1).await;

    two.add_service(Probe::default()).expect("again");
    assert_eq!(echo(one, 2).await, Ok((1, 2)));
    assert_eq!(two.add_service(Probe::default()), Err(AddServiceError::DuplicateService("probe")));
}

/// On another node and on this one.
pub async fn what_is_missing_and_what_is_otherwise_are_told_apart(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Stranger>(peer);
        let missing = client.call(&Missing).await.expect_err("no such method");
        assert_eq!((missing.code, missing.may_have_run()), (Code::UnknownMethod, false));
        let other = client
            .call(&OtherEcho { text: String::new(), more: 0 })
            .await
            .expect_err("another layout");
        assert_eq!((other.code, other.may_have_run()), (Code::SchemaMismatch, false));
        let ours = format!("{:016x}", OtherEcho::FINGERPRINT.get());
        let theirs = format!("{:016x}", Echo::FINGERPRINT.get());
        assert!(other.message.contains(&ours) && other.message.contains(&theirs), "{other}");
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "the connection is none the worse");
}

/// Each by name, and nothing of the service is there afterwards.
pub async fn mistakes_in_a_service_are_refused(host: &dyn Host) {
    let nodes = cluster(host, 1).await;
    let node = &nodes[0].0;
    assert_eq!(node.add_service(Twice), Err(AddServiceError::DuplicateMethod("missing")));
    assert_eq!(
        node.add_service(Alike),
        Err(AddServiceError::FingerprintCollision("missing", "copied"))
    );
    assert_eq!(node.add_service(Nameless), Err(AddServiceError::Name("")));
    assert_eq!(node.add_service(Probe::default()), Err(AddServiceError::DuplicateService("probe")));
    assert!(!node.remove_service::<Twice>() && !node.remove_service::<Alike>());
}

/// A counter as it was: it adds one.
mod old {
    use super::*;

    #[derive(rkyv::Archive, rkyv::Serialize)]
    pub(super) struct Add;

    impl Message for Add {
        type Reply = u64;
        const NAME: &'static str = "add";
    }

    pub(super) struct Counter;

    impl Service for Counter {
        const NAME: &'static str = "counter";
        fn methods(methods: &mut Methods<Self>) {
            methods.add::<Add>();
        }
    }

    impl Handler<Add> for Counter {
        async fn handle(&self, _: &Context, _: View<Add>) -> Result<u64, Status> {
            Ok(1)
        }
    }
}

/// The same service as it has become: a second version beside the first one.
mod new {
    use super::*;
    use chinwag::Client;

    #[derive(rkyv::Archive, rkyv::Serialize)]
    pub(super) struct Add {
        pub(super) by: u64,
    }

    impl Message for Add {
        type Reply = u64;
        const NAME: &'static str = "add/2";
    }

    pub(super) struct Counter;

    impl Service for Counter {
        const NAME: &'static str = "counter";
        fn methods(methods: &mut Methods<Self>) {
            methods.add::<old::Add>().add::<Add>();
        }
    }

    impl Handler<old::Add> for Counter {
        async fn handle(&self, _: &Context, _: View<old::Add>) -> Result<u64, Status> {
            Ok(1)
        }
    }

    impl Handler<Add> for Counter {
        async fn handle(&self, _: &Context, add: View<Add>) -> Result<u64, Status> {
            Ok(add.by.to_native())
        }
    }

    /// As a new program calls, which may meet an old one.
    pub(super) async fn add(counter: &Client<Counter>, by: u64) -> Result<u64, Status> {
        match counter.call(&Add { by }).await {
            Err(status) if status.code == Code::UnknownMethod && by == 1 => {
                counter.call(&old::Add).await.map(|sum| sum.to_native())
            }
            result => result.map(|sum| sum.to_native()),
        }
    }
}

/// An old client on a new server, a new one on an old server, and what only the new server can do.
pub async fn versions_live_side_by_side(host: &dyn Host) {
    let nodes = cluster(host, 3).await;
    let one = &nodes[0].0;
    nodes[1].0.add_service(old::Counter).expect("added");
    nodes[2].0.add_service(new::Counter).expect("added");
    for server in [2, 3] {
        let sum = one.client::<old::Counter>(server).timeout(PATIENCE).call(&old::Add).await;
        assert_eq!(sum.expect("every server has the old method").to_native(), 1);
        let client = one.client::<new::Counter>(server).timeout(PATIENCE);
        assert_eq!(new::add(&client, 1).await, Ok(1), "what both can do, both do");
    }
    let newer = one.client::<new::Counter>(3).timeout(PATIENCE);
    assert_eq!(new::add(&newer, 5).await, Ok(5));
    let older = new::add(&one.client(2).timeout(PATIENCE), 5).await.expect_err("it cannot");
    assert_eq!((older.code, older.may_have_run()), (Code::UnknownMethod, false));
}
