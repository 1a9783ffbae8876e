//! Datagrams.

use std::io::ErrorKind;
use std::sync::Arc;

use futures_lite::future::zip;

use crate::Host;
use crate::tools::{Tally, poll_with, receive, send, takes_a_port_again, udp};

/// With the sender's address.
pub async fn datagrams_go_both_ways(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    assert!(at_one.port() != 0 && at_one != at_two, "real ports");
    let mut buf = [0; 2_000];
    for len in [1, 100, 1_400] {
        let datagram = vec![7; len];
        send(&mut *one, &datagram, at_two).await.expect("sent");
        assert_eq!(receive(&mut *two, &mut buf).await, (len, at_one));
        assert_eq!(buf[..len], datagram);
        send(&mut *two, &datagram, at_one).await.expect("sent");
        assert_eq!(receive(&mut *one, &mut buf).await, (len, at_two));
    }
}

/// And the next datagram is the next.
pub async fn what_does_not_fit_is_cut_off(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    send(&mut *one, b"a long datagram", at_two).await.expect("sent");
    send(&mut *one, b"short", at_two).await.expect("sent");
    let mut buf = [0; 6];
    assert_eq!(receive(&mut *two, &mut buf).await, (6, at_one));
    assert_eq!(&buf, b"a long");
    assert_eq!(receive(&mut *two, &mut buf).await, (5, at_one));
    assert_eq!(&buf[..5], b"short");
}

/// It has a sender and no bytes, and ends nothing.
pub async fn a_datagram_may_be_empty(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    let mut buf = [0; 10];
    for datagram in [&b""[..], b"after"] {
        send(&mut *one, datagram, at_two).await.expect("sent");
        assert_eq!(receive(&mut *two, &mut buf).await, (datagram.len(), at_one));
    }
}

/// No datagram can be that long: it is refused or lost, and what follows is not.
pub async fn a_datagram_that_is_too_long_harms_nothing(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    let _refused_or_lost = send(&mut *one, &vec![1; 70_000], at_two).await;
    send(&mut *one, b"after", at_two).await.expect("sent");
    let mut buf = [0; 10];
    assert_eq!(receive(&mut *two, &mut buf).await, (5, at_one));
    assert_eq!(&buf[..5], b"after");
}

/// The system may report it to the sender, on whatever call comes next. The socket stays usable
/// both ways.
pub async fn a_closed_port_harms_nothing(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    let (gone, nowhere) = udp(host).await;
    drop(gone);
    let mut buf = [0; 10];
    for _ in 0..3 {
        let _reported_or_not = send(&mut *one, b"anybody?", nowhere).await;
        // What is reported may cost one send, and no more.
        if send(&mut *one, b"ping", at_two).await.is_err() {
            send(&mut *one, b"ping", at_two).await.expect("sent");
        }
        assert_eq!(receive(&mut *two, &mut buf).await, (4, at_one));
        send(&mut *two, b"pong", at_one).await.expect("sent");
        assert_eq!(receive(&mut *one, &mut buf).await, (4, at_two));
    }
}

/// It is free before the drop returns.
pub async fn a_port_is_taken_until_its_socket_is_dropped(host: &dyn Host) {
    takes_a_port_again(async || {
        let (first, addr) = udp(host).await;
        let runtime = host.runtime();
        let taken = runtime.bind_udp(addr).await.err().expect("in use");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        drop(first);
        let second = runtime.bind_udp(addr).await?;
        assert_eq!(second.local_addr().expect("bound"), addr);
        Ok(())
    })
    .await;
}

/// A poll to send, by whichever waker, leaves the waker of the poll to receive where it is.
pub async fn sending_does_not_forget_who_waits_to_receive(host: &dyn Host) {
    let ((mut one, at_one), (mut two, at_two)) = zip(udp(host), udp(host)).await;
    let woken = Arc::new(Tally::default());
    let mut buf = [0; 10];
    let waits = poll_with(&woken.clone().into(), |cx| one.poll_recv_from(cx, &mut buf));
    assert!(waits.is_pending(), "nothing was sent");
    for _ in 0..10 {
        send(&mut *one, b"out", at_two).await.expect("sent, with the story's own waker");
    }
    send(&mut *two, b"in", at_one).await.expect("sent");
    woken.reaches(1).await;
    assert_eq!(receive(&mut *one, &mut buf).await, (2, at_two));
}
