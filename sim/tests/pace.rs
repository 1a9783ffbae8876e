//! Which handlers run in the task of their connection (`docs/rpc.md`, "Handlers that compute").

use chinwag::{Bytes, Context, Handler, Message, Method, Methods, Raw, Service, Status, View};
use chinwag_sim::check;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Typed(Vec<u8>);

impl Message for Typed {
    type Reply = ();
    const NAME: &'static str = "typed";
}

struct Untyped;

impl Method for Untyped {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "untyped";
}

struct Short;

impl Service for Short {
    const NAME: &'static str = "short";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Typed>().add::<Untyped>();
    }
}

impl Handler<Typed> for Short {
    async fn handle(&self, _: &Context, _: View<Typed>) -> Result<(), Status> {
        Ok(())
    }
}

impl Handler<Untyped> for Short {
    async fn handle(&self, _: &Context, _: Bytes) -> Result<Raw, Status> {
        Ok(Raw::default())
    }
}

/// Polls take no time in the simulator, so that handlers which do not wait are short.
#[test]
fn short_handlers_run_in_place_and_long_requests_are_validated_beside() {
    check(0..2, |world| async move {
        let nodes = world.cluster(2, |node| node.add_service(Short)).await;
        let client = nodes[0].client::<Short>(2);
        let spawned = || nodes[1].stats().handlers_spawned;
        for _ in 0..20 {
            client.call(&Typed(vec![1; 100])).await.expect("answered");
            client.call_raw::<Untyped>(vec![1; 100]).await.expect("answered");
        }
        assert_eq!(spawned(), 16, "eight of each method, until they are known to be short");
        client.call(&Typed(vec![1; 32_000])).await.expect("answered");
        client.call_raw::<Untyped>(vec![1; 1_000_000]).await.expect("answered");
        assert_eq!(spawned(), 16, "a request that is soon validated, and one that is not at all");
        client.call(&Typed(vec![1; 40_000])).await.expect("answered");
        assert_eq!(spawned(), 17);
    });
}
