//! Several services and messages on one node: what datacake-rpc's own tests ask for and the suite
//! of all runtimes does not have already (a basic call, a service's error, headers, streamed
//! bodies, and unknown services are there).

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::{Client, Code, Context, Handler, Message, Methods, Service, Status, View};

use crate::common::{on_threads, start};

/// Three messages with one layout, which only their names tell apart.
macro_rules! messages {
    ($($message:ident $name:literal)*) => {$(
        #[derive(rkyv::Archive, rkyv::Serialize)]
        struct $message(u64);

        impl Message for $message {
            type Reply = String;
            const NAME: &'static str = $name;
        }

        impl Handler<$message> for Adder {
            async fn handle(&self, _: &Context, message: View<$message>) -> Result<String, Status> {
                Ok(format!("adder {} {}", $name, message.0))
            }
        }
    )*};
}

messages! { Add "add" Increment "increment" Sum "sum" }

struct Adder;

impl Service for Adder {
    const NAME: &'static str = "adder";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Add>().add::<Increment>().add::<Sum>();
    }
}

/// Another service with a method of the same name and message.
struct Namesake;

impl Service for Namesake {
    const NAME: &'static str = "namesake";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Add>();
    }
}

impl Handler<Add> for Namesake {
    async fn handle(&self, _: &Context, message: View<Add>) -> Result<String, Status> {
        Ok(format!("namesake add {}", message.0))
    }
}

async fn nodes() -> (Node, Node) {
    let one = start(1, &[], rpc::Config::default()).await;
    let two = start(2, &[&one], rpc::Config::default()).await;
    two.add_service(Adder).expect("added");
    two.add_service(Namesake).expect("added");
    sees(&one, 1).await;
    (one, two)
}

async fn ask<S: Handler<M>, M: Message<Reply = String>>(
    client: &Client<S>,
    message: M,
) -> Result<String, Code> {
    match client.call(&message).await {
        Ok(text) => Ok(text.as_str().to_owned()),
        Err(status) => Err(status.code),
    }
}

/// Many at once, of every message and service, and no answer is another's.
#[test]
fn every_message_of_every_service_has_its_own_handler() {
    on_threads(async {
        let (one, _two) = nodes().await;
        let adder = one.client::<Adder>(2).timeout(PATIENCE);
        let namesake = one.client::<Namesake>(2).timeout(PATIENCE);
        let rounds = (0..200_u64).map(|number| {
            let (adder, namesake) = (adder.clone(), namesake.clone());
            tokio::spawn(async move {
                let answers = tokio::join!(
                    ask(&adder, Add(number)),
                    ask(&adder, Increment(number)),
                    ask(&namesake, Add(number)),
                    ask(&adder, Sum(number))
                );
                let expected = |what: &str| Ok(format!("{what} {number}"));
                let expected = (
                    expected("adder add"),
                    expected("adder increment"),
                    expected("namesake add"),
                    expected("adder sum"),
                );
                assert_eq!(answers, expected);
            })
        });
        for round in rounds.collect::<Vec<_>>() {
            round.await.expect("no panic");
        }
    });
}

/// And not the others: whoever is removed is gone until added again, and the rest goes on.
#[test]
fn removing_a_service_removes_that_service() {
    on_threads(async {
        let (one, two) = nodes().await;
        let adder = one.client::<Adder>(2).timeout(PATIENCE);
        let namesake = one.client::<Namesake>(2).timeout(PATIENCE);
        for _ in 0..3 {
            assert_eq!(ask(&adder, Add(1)).await, Ok("adder add 1".into()));
            assert!(two.remove_service::<Adder>());
            assert_eq!(ask(&adder, Add(1)).await, Err(Code::UnknownService));
            assert_eq!(ask(&namesake, Add(1)).await, Ok("namesake add 1".into()));
            two.add_service(Adder).expect("added again");
        }
        assert!(two.remove_service::<Namesake>());
        assert_eq!(ask(&namesake, Add(1)).await, Err(Code::UnknownService));
        assert_eq!(ask(&adder, Sum(1)).await, Ok("adder sum 1".into()));
    });
}
