//! How a node starts and ends, and that nothing of it stays.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag::runtime::Runtime;
use chinwag::{Code, Config, Node, StartError};
use futures_lite::future::{or, zip};

use crate::counted::Counted;
use crate::probe::{Echo, Hang, PATIENCE, Probe, builder, builder_at, cluster, echo, sees, start};
use crate::tools::{eventually, read, takes_a_port_again, tick};
use crate::{Host, Story};

/// Another node can have it then, and connections of the first do not stand in its way.
pub async fn shutdown_frees_the_port(host: &dyn Host) {
    takes_a_port_again(async || a_node_takes_the_port_of_another(host).await).await;
}

async fn a_node_takes_the_port_of_another(host: &dyn Host) -> io::Result<()> {
    let nodes = cluster(host, 2).await;
    let addr = nodes[1].0.local_addr();
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    let taken = Node::builder(3, addr).cluster("test").start_on(host.runtime()).await;
    let taken = taken.expect_err("in use");
    assert!(
        matches!(&taken, StartError::Bind { addr: at, error } if *at == addr && error.kind() == ErrorKind::AddrInUse),
        "{taken}"
    );
    nodes[1].0.shutdown().await;
    assert!(
        nodes[1].0.downgrade().upgrade().is_none(),
        "what has ended is not handed out, whoever holds it"
    );
    let again = builder_at(host, 2, addr).cluster("test").config(Config::local());
    let again = again.seeds([nodes[0].0.advertised_addr().to_string()]);
    let again = match again.start_on(host.runtime()).await {
        Err(StartError::Bind { error, .. }) => return Err(error),
        started => started.expect("it starts"),
    };
    again.add_service(Probe::default()).expect("added");
    sees(&again, 1).await;
    let epoch = again.epoch();
    nodes[0]
        .0
        .wait_for(|view| view.get(2.into()).is_some_and(|member| member.epoch == epoch), PATIENCE)
        .await
        .expect("the new run");
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "a call reaches the new run");
    Ok(())
}

/// What tasks and handlers of a node hold is free when `shutdown` returns: a file, say, that the
/// next run of the program opens.
pub async fn shutdown_waits_for_every_task(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let file = Arc::new(());
    let (node, probe) = &nodes[1];
    for sleeps in [true, false] {
        let (held, weak) = (file.clone(), node.downgrade());
        node.spawn(async move {
            let _held = held;
            while let Some(node) = weak.upgrade() {
                let nap = node.sleep(if sleeps { 100 * PATIENCE } else { PATIENCE / 1_000 });
                drop(node);
                nap.await;
            }
        });
    }
    // One that starts another one as it ends.
    let (held, weak) = (file.clone(), node.downgrade());
    let starts = OnDrop(move || {
        let held = held.clone();
        if let Some(node) = weak.upgrade() {
            node.spawn(async move { drop(held) });
        }
    });
    node.spawn(async move {
        let _starts = starts;
        std::future::pending::<()>().await;
    });
    // And handlers that wait, of a call from elsewhere and of one from here.
    let (far, near) = (nodes[0].0.client::<Probe>(2), node.client::<Probe>(2));
    let (far, near) = (far.without_timeout(), near.without_timeout());
    let end = async {
        probe.begun.reaches(2).await;
        assert_eq!(Arc::strong_count(&file), 4);
        node.shutdown().await;
        assert_eq!(Arc::strong_count(&file), 1, "a task of the node outlives it");
    };
    let (near, (far, ())) = zip(near.call(&Hang), zip(far.call(&Hang), end)).await;
    near.expect_err("its handler has ended");
    far.expect_err("its handler has ended");
    // A node that has ended runs nothing more.
    node.spawn({
        let held = file.clone();
        async move {
            let _held = held;
            std::future::pending::<()>().await;
        }
    });
    eventually(&*host.runtime(), || Arc::strong_count(&file) == 1).await;
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Dropping the last handle ends every task and frees every socket, whatever is in flight; other
/// things of the node do not hold it.
pub async fn a_node_leaves_nothing_behind(host: &dyn Host) {
    takes_a_port_again(async || nodes_end_with_their_handles(host).await).await;
}

async fn nodes_end_with_their_handles(host: &dyn Host) -> io::Result<()> {
    let counted = CountedHost { host, counted: Counted::new(host.runtime()) };
    let tasks = || counted.counted.tasks();
    let nodes = cluster(&counted, 3).await;
    let addrs: Vec<_> = nodes.iter().map(|(node, _)| node.local_addr()).collect();
    let (first, probe) = (nodes[0].0.clone(), nodes[1].1.clone());
    let (client, clock, mut watch) = (first.client::<Probe>(2), first.clock(), first.watch());
    let weak = first.downgrade();
    assert_eq!(weak.upgrade().map(|node| node.id()), Some(first.id()));
    nodes[0].0.client::<Probe>(3).one_way(&Hang).expect("queued");
    nodes[2].1.begun.reaches(1).await;
    let held = client.clone().without_timeout();
    let end = async {
        probe.begun.reaches(1).await;
        assert!(tasks() >= 3, "{} tasks of three nodes", tasks());
        drop((first, nodes));
    };
    zip(held.call(&Hang), end).await.0.expect_err("the node is gone");
    eventually(&*host.runtime(), || tasks() == 0).await;
    for addr in addrs {
        drop(host.runtime().bind_udp(addr).await?);
        drop(host.runtime().listen(addr).await?);
    }
    while watch.next().await.is_some() {}
    assert!(weak.upgrade().is_none(), "a weak handle keeps no node alive");
    let status = client.call(&Echo { text: String::new() }).await.map(drop).expect_err("no node");
    assert_eq!((status.code, status.never_sent()), (Code::Unavailable, true));
    assert!(clock.now() < clock.now(), "a clock is a clock");
    Ok(())
}

/// Strangers take what room there is: further connections are closed and counted, and whoever needs
/// one is told at once.
pub async fn connections_are_limited_and_those_there_are_go_on(host: &dyn Host) {
    let runtime = host.runtime();
    // Strangers that say nothing stay for the whole case.
    let rpc = chinwag::protocol::rpc::Config { hello_timeout: 3 * PATIENCE, ..Default::default() };
    let one = builder(host, 1).cluster("test").config(Config::local()).rpc(rpc).connections_max(2);
    let one = one.start_on(host.runtime()).await.expect("starts");
    one.add_service(Probe::default()).expect("added");
    let two = start(host, 2, &[&one]).await;
    two.add_service(Probe::default()).expect("added");
    sees(&one, 1).await;
    sees(&two, 1).await;
    let both_ways = async || (echo(&one, 2).await, echo(&two, 1).await);
    assert_eq!(both_ways().await, (Ok((1, 2)), Ok((2, 1))));
    eventually(&*runtime, || one.stats().connections == 1).await;

    // Whoever is let in stays. Not yet, perhaps, if the two nodes have dialed each other at once
    // and one connection is still too many.
    let stranger = loop {
        let mut stranger = runtime.connect(one.local_addr()).await.expect("the system takes it");
        let is_in = async {
            eventually(&*runtime, || one.stats().connections == 2).await;
            true
        };
        let is_out = async {
            while let Ok(1..) = read(&mut *stranger, &mut [0; 64]).await {}
            false
        };
        if or(is_in, is_out).await {
            break stranger;
        }
    };
    eventually(&*runtime, || one.stats().connections == 2).await;
    let mut refused = runtime.connect(one.local_addr()).await.expect("the system takes it");
    let heard = read(&mut *refused, &mut [0; 64]).await;
    assert!(matches!(heard, Ok(0) | Err(_)), "closed without a word: {heard:?}");
    eventually(&*runtime, || one.stats().connections_refused >= 1).await;
    assert_eq!(both_ways().await, (Ok((1, 2)), Ok((2, 1))), "those there are go on");

    let three = start(host, 3, &[&two]).await;
    three.add_service(Probe::default()).expect("added");
    sees(&one, 2).await;
    let status = echo(&one, 3).await.expect_err("there is no room");
    assert_eq!((status.code, status.never_sent()), (Code::Overloaded, true), "{status}");
    assert_eq!(both_ways().await, (Ok((1, 2)), Ok((2, 1))));
    assert!(one.stats().connections <= 2);

    drop(stranger);
    // There is room again, once it is seen that the stranger has gone; whichever node takes it.
    let echoed = loop {
        match echo(&one, 3).await {
            Err(status) if status.code == Code::Overloaded => tick(&*runtime).await,
            echoed => break echoed,
        }
    };
    assert_eq!(echoed, Ok((1, 3)));
}

/// And a seed that does not is no reason not to start.
pub async fn a_start_that_cannot_work_says_why(host: &dyn Host) {
    let anywhere: SocketAddr = ([0, 0, 0, 0], 0).into();
    let everywhere = Node::builder(1, anywhere).start_on(host.runtime()).await;
    assert!(matches!(everywhere.expect_err("which address?"), StartError::NoAddress(_)));
    let nameless = Node::builder(1, anywhere).advertise(host.addr());
    let nameless = nameless.start_on(host.runtime()).await;
    assert!(matches!(nameless.expect_err("which cluster?"), StartError::NoClusterName(_)));
    let named = || builder(host, 1).cluster("named");
    let portless = named().seeds(["no-such-host.invalid"]);
    let portless = portless.start_on(host.runtime()).await;
    assert!(matches!(portless.expect_err("which port?"), StartError::Seed { .. }));
    let advertised = Node::builder(1, anywhere).advertise(host.addr()).cluster("named");
    let advertised = advertised.seeds(["no-such-host.invalid:1"]);
    let node = advertised
        .start_on(host.runtime())
        .await
        .expect("a seed that is not there never fails a start");
    assert_eq!(node.advertised_addr().port(), node.local_addr().port());
    let long = named().metadata_entry("key", &"x".repeat(1_000));
    let long = long.start_on(host.runtime()).await;
    assert!(matches!(long.expect_err("too long"), StartError::Metadata(_)));
}

/// A host that counts the tasks that are there.
struct CountedHost<'a> {
    host: &'a dyn Host,
    counted: Counted,
}

impl Host for CountedHost<'_> {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.counted.clone())
    }

    fn block_on(&self, story: Story<'_>) {
        self.host.block_on(story);
    }

    fn addr(&self) -> SocketAddr {
        self.host.addr()
    }
}
