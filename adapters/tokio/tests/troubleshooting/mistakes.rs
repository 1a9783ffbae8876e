//! The mistakes, each made on real sockets.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use chinwag_tokio::{
    Builder, Code, Consistency, Context, Handler, Message, Methods, Node, Secret, SecretError,
    Service, StartError, Status, Tokio, View, rkyv,
};

use crate::Lines;
use crate::log;

/// Far longer than anything here takes on a busy host.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn builder(id: u64) -> Builder<Tokio> {
    Node::builder(id, addr("127.0.0.1:0"))
}

/// `text` with the name that the table has for each of these addresses, and without the system's
/// number of an error, which its words have said.
fn plain(text: &str, names: &[(SocketAddr, &str)]) -> String {
    let mut text = text.to_owned();
    for (addr, name) in names {
        text = text.replace(&addr.to_string(), name);
    }
    while let Some(from) = text.find(" (os error ") {
        let len = text[from..].find(')').expect("closed");
        text.replace_range(from..=from + len, "");
    }
    text
}

fn refusal(started: Result<Node, StartError>) -> String {
    let error = started.expect_err("it does not start");
    let text = error.to_string();
    // What it rests on is there for programs, and said for people.
    if let Some(source) = std::error::Error::source(&error) {
        assert!(text.contains(&source.to_string()), "{text} / {source}");
    }
    text
}

fn start_on(runtime: &tokio::runtime::Runtime, builder: Builder<Tokio>) -> String {
    refusal(runtime.block_on(builder.start()))
}

pub(crate) fn at_the_start(lines: &mut Lines) {
    let runtime = |build: fn(&mut tokio::runtime::Builder) -> &mut tokio::runtime::Builder| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        build(&mut builder).build().expect("a runtime")
    };
    let (whole, deaf) = (runtime(|b| b.enable_all()), runtime(|b| b.enable_time()));
    let timeless = runtime(|b| b.enable_io());

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|addr| (taken, addr)).expect("bound");
    let said = start_on(&whole, Node::builder(1, taken.1));
    lines.insert("The port is in use", plain(&said, &[(taken.1, "10.0.0.1:7000")]));

    let elsewhere = Node::builder(1, addr("203.0.113.7:7000")).cluster("demo");
    lines.insert("The address is not this host's", plain(&start_on(&whole, elsewhere), &[]));

    let everywhere = Node::builder(1, addr("0.0.0.0:7000")).cluster("demo");
    lines.insert("The node listens on all interfaces", start_on(&whole, everywhere));

    let nameless = builder(1).advertise(addr("10.0.0.1:7000"));
    lines.insert("No cluster name", start_on(&whole, nameless));

    let malformed = builder(1).seeds(["db-2"]);
    lines.insert("A seed is not `host:port`", start_on(&whole, malformed));

    lines.insert("The tokio runtime has no I/O", start_on(&deaf, builder(1)));
    lines.insert("The tokio runtime has no timers", start_on(&timeless, builder(1)));
    let mut start = pin!(builder(1).start());
    let polled = start.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
    let Poll::Ready(started) = polled else { panic!("there is nothing to wait for") };
    lines.insert("There is no tokio runtime", refusal(started));
}

pub(crate) async fn while_joining(lines: &mut Lines) {
    let unknown = builder(101).seeds(["db-2.invalid:7000"]).start().await.expect("it starts");
    let said = log::line(101, "chinwag::join", "no seed").await;
    lines.insert("A seed's name is not known", plain(&said, &[]));
    unknown.shutdown().await;

    let closed = TcpListener::bind("127.0.0.1:0").and_then(|tcp| tcp.local_addr()).expect("a port");
    let refused = builder(102).seeds([closed.to_string()]).start().await.expect("it starts");
    let said = log::line(102, "chinwag::join", "refused").await;
    let said = plain(&said, &[(closed, "10.0.0.2:7000")]);
    lines.insert("Nobody listens at a seed's address", said);
    refused.shutdown().await;

    let here = builder(103).cluster("demo").start().await.expect("it starts");
    let seed = here.local_addr();
    let there = builder(104).cluster("test").seeds([seed.to_string()]).start().await;
    let there = there.expect("it starts");
    let said = log::line(104, "chinwag::node", "in the cluster").await;
    lines.insert("A seed is in another cluster", plain(&said, &[(seed, "10.0.0.2:7000")]));
    there.shutdown().await;
    here.shutdown().await;

    let first = builder(105).start().await.expect("it starts");
    let seed = first.local_addr();
    // A run is named by the millisecond of its start, so let the second start in another one.
    while first.now().wall.as_nanos() / 1_000_000 <= first.epoch().get() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = builder(105).seeds([seed.to_string()]).start().await.expect("it starts");
    let said = log::line(105, "chinwag::node", "two live nodes").await;
    // Either of the two says it, with its own address first.
    let mut both = [seed, second.local_addr()];
    both.sort_by_key(|addr| said.find(&addr.to_string()));
    let names = [(both[0], "10.0.0.1:7000"), (both[1], "10.0.0.2:7000")];
    lines.insert("Two nodes have one id", plain(&said, &names));
    second.shutdown().await;
    first.shutdown().await;

    let exposed = builder(106).cluster("demo").advertise(addr("10.0.0.1:7000"));
    let exposed = exposed.start().await.expect("it starts");
    let said = log::line(106, "chinwag::node", "encrypted").await;
    lines.insert("The nodes have no secret", said);
    exposed.shutdown().await;
}

fn secret(seed: u8) -> Secret {
    Secret::from_bytes([seed; 32])
}

pub(crate) fn with_secrets(lines: &mut Lines) {
    let folder = std::env::temp_dir().join(format!("chinwag-lines-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("cluster.key");
    let said = |secret: Result<Secret, SecretError>| match secret {
        Ok(_) => panic!("there is no secret"),
        Err(error) => plain(&error.to_string(), &[]),
    };
    lines.insert("There is no such file", said(Secret::from_file(&file)));
    lines.insert("The secret is a passphrase", said("correct horse".parse()));
    secret(1).write_new(&file).expect("written");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, open).expect("set");
    lines.insert("Others can read the secret's file", said(Secret::from_file(&file)));
    std::fs::remove_dir_all(&folder).expect("removed");
}

pub(crate) async fn while_joining_with_secrets(lines: &mut Lines) {
    let sealed = builder(107).secret(secret(1)).start().await.expect("it starts");
    let clear = builder(108).start().await.expect("it starts");
    let start = async |id, secret: Option<Secret>, seed: SocketAddr| {
        let builder = builder(id).seeds([seed.to_string()]);
        let builder = match secret {
            Some(secret) => builder.secret(secret),
            None => builder,
        };
        builder.start().await.expect("it starts")
    };
    for (id, own, seed, target, part, mistake) in [
        (109, Some(secret(2)), &sealed, "security", "another", "The seed has another secret"),
        (
            110,
            Some(secret(1)),
            &clear,
            "security",
            "not encrypt",
            "The seed has no secret, and this node has one",
        ),
        (111, None, &sealed, "join", "encrypts", "The seed has a secret, and this node has none"),
    ] {
        let addr = seed.local_addr();
        let node = start(id, own, addr).await;
        let said = log::line(id, &format!("chinwag::{target}"), part).await;
        lines.insert(mistake, plain(&said, &[(addr, "10.0.0.2:7000")]));
        node.shutdown().await;
    }
    // The seed says it too.
    let said = log::line(107, "chinwag::security", "another secret").await;
    assert!(said.starts_with("WARN no connection with 127.0.0.1:"), "{said}");
}

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

/// Two nodes that have met.
async fn pair(ids: [u64; 2]) -> [Node; 2] {
    let one = builder(ids[0]).start().await.expect("it starts");
    let seed = one.local_addr().to_string();
    let other = builder(ids[1]).seeds([seed]).start().await.expect("it starts");
    for node in [&one, &other] {
        node.wait_for(|view| view.live() == 2, WAIT_MAX).await.expect("they meet");
    }
    [one, other]
}

pub(crate) async fn in_calls(lines: &mut Lines) {
    let alone = builder(201).start().await.expect("it starts");
    let hello = Hello { name: "Ada".into() };
    let status = alone.client::<Greeter>(2).call(&hello).await.expect_err("nobody is there");
    lines.insert("A call before the member has joined", status.to_string());
    let none = alone.select(Consistency::One).expect_err("nobody is there");
    lines.insert("A choice before members have joined", none.to_string());
    alone.add_service(Greeter).expect("the first one");
    let twice = alone.add_service(Greeter).expect_err("the second one");
    lines.insert("A service is added twice", twice.to_string());
    alone.shutdown().await;

    let [one, other] = pair([1, 2]).await;
    let client = one.client::<Greeter>(2);
    let status = client.call(&hello).await.expect_err("no such service");
    lines.insert("The called node does not have the service", status.to_string());
    other.add_service(Greeter).expect("added");
    assert_eq!(*client.call(&hello).await.expect("now it is there"), *"Hello, Ada!");

    let large = Hello { name: "x".repeat(20_000_000) };
    let status = client.call(&large).await.expect_err("too large");
    assert!(status.never_sent() && status.code == Code::TooLarge);
    lines.insert("A message is too large", status.to_string());

    let gone = other.local_addr();
    other.shutdown().await;
    let said = loop {
        let status = client.call(&hello).await.expect_err("nobody listens there");
        let said = status.to_string();
        // What was in flight when it ended says that the connection was lost.
        if !said.contains("was lost") {
            break said;
        }
    };
    lines.insert("A member has just ended", plain(&said, &[(gone, "10.0.0.2:7000")]));
    one.shutdown().await;
}

/// Other versions of the service: the names of this one are [`Greeter`]'s and [`Hello`]'s.
mod versions {
    use super::*;

    macro_rules! version {
        ($module:ident, $name:literal, { $($field:ident: $type:ty),* }, $reply:ty) => {
            pub(super) mod $module {
                use super::*;

                #[derive(Default, rkyv::Archive, rkyv::Serialize)]
                #[rkyv(crate = rkyv)]
                pub(crate) struct Hello {
                    $(pub(crate) $field: $type),*
                }

                impl Message for Hello {
                    type Reply = $reply;
                    const NAME: &'static str = $name;
                }

                pub(crate) struct Greeter;

                impl Service for Greeter {
                    const NAME: &'static str = "greeter";
                    fn methods(methods: &mut Methods<Self>) {
                        methods.add::<Hello>();
                    }
                }

                impl Handler<Hello> for Greeter {
                    async fn handle(&self, _: &Context, _: View<Hello>) -> Result<$reply, Status> {
                        Ok(Default::default())
                    }
                }
            }
        };
    }

    version!(method, "good_bye", { name: String }, String);
    version!(request, "hello", { name: String, count: u64 }, String);
    version!(reply, "hello", { name: String }, u32);
    version!(both, "hello", { count: u32 }, u64);
}

pub(crate) async fn in_types(lines: &mut Lines) {
    let [one, other] = pair([301, 302]).await;
    other.add_service(Greeter).expect("added");
    let client = one.client::<versions::method::Greeter>(302);
    let status = client.call(&versions::method::Hello::default()).await.expect_err("no method");
    lines.insert("The service does not have the method", status.to_string());

    let client = one.client::<versions::request::Greeter>(302);
    let status = client.call(&versions::request::Hello::default()).await.expect_err("differs");
    lines.insert("The request's type differs", status.to_string());

    let client = one.client::<versions::reply::Greeter>(302);
    let status = client.call(&versions::reply::Hello::default()).await.expect_err("differs");
    lines.insert("The reply's type differs", status.to_string());

    let client = one.client::<versions::both::Greeter>(302);
    let status = client.call(&versions::both::Hello::default()).await.expect_err("differs");
    lines.insert("Both types differ", status.to_string());

    other.leave().await.expect("it leaves");
    other.shutdown().await;
    let said = log::line(301, "chinwag::node", "last other member").await;
    lines.insert("Every other member is gone", said);
    one.shutdown().await;
}
