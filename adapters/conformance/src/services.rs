//! Services and their methods.

use chinwag::{AddServiceError, Code, Context, Handler, Message, Methods, Service, Status, View};
use futures_lite::future::or;

use crate::Host;
use crate::probe::{Echo, Echoed, Hang, PATIENCE, Probe, cluster, echo};

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

/// Calls in flight go on when their service is removed.
pub async fn services_come_and_go_while_the_node_runs(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let (one, two) = (&nodes[0].0, &nodes[1].0);
    let other = one.client::<Twice>(2).call(&Missing).await.expect_err("not there");
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
    assert_eq!(two.add_service(Twice), Err(AddServiceError::DuplicateMethod("missing")));
}

/// On another node and on this one.
pub async fn what_is_missing_and_what_is_otherwise_are_told_apart(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Stranger>(peer);
        let missing = client.call(&Missing).await.expect_err("no such method");
        assert_eq!((missing.code, missing.may_have_run()), (Code::UnknownMethod, false));
        let other =
            client.call(&OtherEcho { text: String::new(), more: 0 }).await.expect_err("another layout");
        assert_eq!((other.code, other.may_have_run()), (Code::SchemaMismatch, false));
        let ours = format!("{:016x}", OtherEcho::FINGERPRINT.get());
        let theirs = format!("{:016x}", Echo::FINGERPRINT.get());
        assert!(other.message.contains(&ours) && other.message.contains(&theirs), "{other}");
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "the connection is none the worse");
}
