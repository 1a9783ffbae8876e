//! Two nodes and a store on each runtime: one node calls a service of the other, and reads there
//! what it has written here.

use std::error::Error;
use std::time::Duration;

use chinwag_store::{MemoryStorage, StoreExtension};
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::{
    Config, Consistency, Context, Handler, Message, Methods, Service, Status, View, rkyv,
};

#[derive(rkyv::Archive, rkyv::Serialize)]
#[rkyv(crate = rkyv)]
struct Hello {
    name: String,
}

impl Message for Hello {
    type Reply = String;
    const NAME: &'static str = "hello";
}

struct Greeter;

impl Service for Greeter {
    const NAME: &'static str = "greeter";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Hello>();
    }
}

impl Handler<Hello> for Greeter {
    async fn handle(&self, _: &Context, hello: View<Hello>) -> Result<String, Status> {
        Ok(format!("Hello, {}!", hello.name))
    }
}

/// What every program with chinwag does: it adds a service, finds the other member, calls it, and
/// leaves.
async fn story(one: Node, two: Node) -> Result<(), Box<dyn Error>> {
    two.add_service(Greeter)?;
    let stores = [
        one.add_extension(StoreExtension::new(MemoryStorage::new())).await?,
        two.add_extension(StoreExtension::new(MemoryStorage::new())).await?,
    ];
    for node in [&one, &two] {
        node.wait_for(|view| view.members().len() == 1, Duration::from_secs(30)).await?;
    }
    let reply = one.client::<Greeter>(2).call(&Hello { name: "Ada".into() }).await?;
    assert_eq!(*reply, *"Hello, Ada!");
    stores[0].keyspace("users")?.put(7, "Ada", Consistency::All).await?;
    let user = stores[1].keyspace("users")?.get(7, Consistency::One).await?;
    assert_eq!(user.as_deref(), Some(&b"Ada"[..]));
    two.leave().await?;
    one.leave().await?;
    Ok(())
}

fn addr() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Runs the story on two nodes of one adapter.
macro_rules! on {
    ($adapter:ident) => {
        async {
            let builder = |id| $adapter::Node::builder(id, addr()).cluster("outside");
            let one = builder(1).config(Config::local()).start().await?;
            let seed = one.local_addr().to_string();
            let two = builder(2).config(Config::local()).seeds([seed]).start().await?;
            story(one.into(), two.into()).await
        }
    };
}

fn main() -> Result<(), Box<dyn Error>> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(on!(chinwag_tokio))?;
    println!("outside: well on tokio");
    smol::block_on(on!(chinwag_smol))?;
    println!("outside: well on smol");
    async_std::task::block_on(on!(chinwag_async_std))?;
    println!("outside: well on async-std");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chinwag_conformance::{Host, Story};
    use chinwag_sim::{check, secs};

    use super::{Greeter, Hello};

    /// The service of the program, in the simulator.
    #[test]
    fn the_greeter_answers_through_a_partition() {
        check(0..3, |world| async move {
            let nodes = world.cluster(3, |node: &super::Node| node.add_service(Greeter)).await;
            world.at(secs(5)).lasting(secs(20)).partition([0], [1, 2]);
            world.run_for(secs(60)).await;
            let client = nodes[0].client::<Greeter>(2);
            let reply = client.call(&Hello { name: "Ada".into() }).await.expect("it has healed");
            assert_eq!(*reply, *"Hello, Ada!");
        });
    }

    /// A runtime of the program's own, with one case of the suite.
    #[test]
    fn a_runtime_passes_a_case_of_the_suite() {
        struct OnSmol;
        impl Host for OnSmol {
            fn runtime(&self) -> Arc<dyn chinwag_smol::Runtime> {
                Arc::new(chinwag_smol::Smol::new())
            }
            fn block_on(&self, story: Story<'_>) {
                smol::block_on(story);
            }
        }
        smol::block_on(chinwag_conformance::timers::a_deadline_in_the_past_has_come(&OnSmol));
    }
}
