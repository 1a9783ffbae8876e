//! Streams and listeners.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use chinwag::runtime::Stream;
use futures_lite::future::zip;

use crate::Host;
use crate::tools::{
    Tally, close, listen, poll_and_drop, poll_with, read, read_up_to, streams, takes_a_port_again,
    write,
};

/// More than any system buffers for one stream.
const BUFFERED_MAX: usize = 256 << 20;

/// And each end knows the other's address.
pub async fn bytes_go_both_ways(host: &dyn Host) {
    let (mut listener, addr) = listen(host).await;
    let runtime = host.runtime();
    let (one, two) = zip(runtime.connect(addr), poll_fn(|cx| listener.poll_accept(cx))).await;
    let (mut one, mut two) = (one.expect("connected"), two.expect("accepted"));
    assert_eq!(one.peer_addr().expect("connected"), addr);
    assert_eq!(two.peer_addr().expect("connected").ip(), addr.ip());
    for _ in 0..3 {
        write(&mut *one, b"ping").await.expect("written");
        assert_eq!(read_up_to(&mut *two, 4).await.expect("read"), b"ping");
        write(&mut *two, b"pong").await.expect("written");
        assert_eq!(read_up_to(&mut *one, 4).await.expect("read"), b"pong");
    }
}

/// What was written before the end arrives before the end.
pub async fn a_half_closed_stream_still_carries_the_other_half(host: &dyn Host) {
    let (mut one, mut two) = streams(host).await;
    write(&mut *one, b"question").await.expect("written");
    close(&mut *one).await;
    assert_eq!(read_up_to(&mut *two, 100).await.expect("read to the end"), b"question");
    assert_eq!(read(&mut *two, &mut [0; 10]).await.expect("the end stays the end"), 0);
    write(&mut *two, b"answer").await.expect("the other half is open");
    close(&mut *two).await;
    assert_eq!(read_up_to(&mut *one, 100).await.expect("read to the end"), b"answer");
}

/// A stream that is dropped with bytes unread resets the connection. Where there are no resets it
/// is an end.
pub async fn a_reset_ends_reading_and_writing(host: &dyn Host) {
    let (mut one, mut two) = streams(host).await;
    write(&mut *one, b"never read").await.expect("written");
    assert_eq!(read(&mut *two, &mut [0; 1]).await.expect("it has arrived"), 1);
    drop(two);
    let mut buf = [0; 10];
    assert_eq!(read(&mut *one, &mut buf).await.unwrap_or(0), 0, "an end or an error");
    let mut written = 0;
    while write(&mut *one, &[0; 1_000]).await.is_ok() {
        written += 1_000;
        assert!(written < BUFFERED_MAX, "nobody is there");
    }
}

/// After what was written.
pub async fn a_dropped_stream_ends_the_others_reading(host: &dyn Host) {
    let (mut one, two) = streams(host).await;
    write(&mut *one, b"farewell").await.expect("written");
    drop(one);
    let mut two = two;
    assert_eq!(read_up_to(&mut *two, 100).await.expect("all, and the end"), b"farewell");
}

/// And once it reads, everything arrives, in order.
pub async fn a_reader_that_does_not_read_holds_the_writer_back(host: &dyn Host) {
    let (mut one, mut two) = streams(host).await;
    let mut buf = vec![0; 65_536];
    // Long enough for a buffer's length from anywhere in its period.
    let bytes: Vec<u8> = (0..=250).cycle().take(buf.len() + 251).collect();
    let mut written = 0;
    while let Poll::Ready(taken) = poll_with(Waker::noop(), |cx| {
        one.poll_write_vectored(cx, &[IoSlice::new(&bytes[written % 251..])])
    }) {
        written += taken.expect("written");
        assert!(written < BUFFERED_MAX, "the reader holds nobody back");
    }
    let rest = 1_000_000;
    let writes = async {
        let end = written + rest;
        let mut at = written;
        while at < end {
            let slice = &bytes[at % 251..];
            let slice = &slice[..slice.len().min(end - at)];
            at += poll_fn(|cx| one.poll_write_vectored(cx, &[IoSlice::new(slice)]))
                .await
                .expect("written");
        }
        close(&mut *one).await;
    };
    let reads = async {
        let mut at = 0;
        loop {
            let len = read(&mut *two, &mut buf).await.expect("read");
            if len == 0 {
                return at;
            }
            assert!(buf[..len] == bytes[at % 251..][..len], "in order, at {at}");
            at += len;
        }
    };
    assert_eq!(zip(writes, reads).await.1, written + rest);
}

/// More slices than a system takes at once, some of them empty, more bytes than it takes at once.
pub async fn many_slices_arrive_in_order(host: &dyn Host) {
    let (mut one, mut two) = streams(host).await;
    let parts: Vec<Vec<u8>> =
        (0_u8..=255).cycle().take(3_000).map(|n| vec![n; usize::from(n) * 4]).collect();
    let whole = parts.concat();
    let writes = async {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while left.iter().any(|slice| !slice.is_empty()) {
            let taken = poll_fn(|cx| one.poll_write_vectored(cx, left)).await.expect("written");
            assert!(taken > 0, "at least one byte is taken");
            IoSlice::advance_slices(&mut left, taken);
        }
    };
    let read = zip(writes, read_up_to(&mut *two, whole.len())).await.1.expect("read");
    assert!(read == whole, "in order");
}

/// That is an error, and soon where the system says so.
pub async fn nobody_listens(host: &dyn Host) {
    let (listener, addr) = listen(host).await;
    drop(listener);
    assert!(host.runtime().connect(addr).await.is_err());
}

/// Before it was polled, or after.
pub async fn a_dropped_connect_harms_nothing(host: &dyn Host) {
    let (mut listener, addr) = listen(host).await;
    let runtime = host.runtime();
    for _ in 0..10 {
        drop(runtime.connect(addr));
        drop(poll_and_drop(runtime.connect(addr)));
    }
    let dial = async {
        let mut one = runtime.connect(addr).await.expect("connected");
        write(&mut *one, b"here").await.expect("written");
        one
    };
    // Attempts that were dropped may have got as far as being accepted, and failing or ending then.
    let accept = async {
        loop {
            if let Ok(mut two) = poll_fn(|cx| listener.poll_accept(cx)).await
                && read_up_to(&mut *two, 4).await.is_ok_and(|bytes| bytes == b"here")
            {
                return two;
            }
        }
    };
    let (one, two) = zip(dial, accept).await;
    assert_eq!(one.peer_addr().expect("connected").ip(), two.peer_addr().expect("connected").ip());
}

/// Even while connections that it accepted are there.
pub async fn a_port_is_free_once_its_listener_is_dropped(host: &dyn Host) {
    takes_a_port_again(async || {
        let (mut listener, addr) = listen(host).await;
        let runtime = host.runtime();
        let taken = runtime.listen(addr).await.err().expect("in use");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let (one, two) = zip(runtime.connect(addr), poll_fn(|cx| listener.poll_accept(cx))).await;
        let (mut one, mut two) = (one.expect("connected"), two.expect("accepted"));
        drop(listener);
        // The accepted end closes first, so it is the one that lingers.
        close(&mut *two).await;
        assert_eq!(read(&mut *one, &mut [0; 1]).await.expect("the end"), 0);
        drop((one, two));
        let again = runtime.listen(addr).await?;
        assert_eq!(again.local_addr().expect("bound"), addr);
        Ok(())
    })
    .await;
}

/// `TCP_NODELAY`, on both ends: without it, a second small write waits for the acknowledgement of
/// the first, 40 ms.
pub async fn small_writes_are_not_held_back(host: &dyn Host) {
    const ROUNDS: usize = 60;
    async fn twice(stream: &mut dyn Stream) {
        write(stream, b"a").await.expect("written");
        write(stream, b"b").await.expect("written");
    }
    let (mut one, mut two) = streams(host).await;
    let runtime = host.runtime();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = runtime.now().mono;
        twice(&mut *one).await;
        assert_eq!(read_up_to(&mut *two, 2).await.expect("read"), b"ab");
        twice(&mut *two).await;
        assert_eq!(read_up_to(&mut *one, 2).await.expect("read"), b"ab");
        rounds.push(runtime.now().mono.since(began));
    }
    rounds.sort_unstable();
    // The median of what takes microseconds: a busy machine delays some rounds, not most of them.
    assert!(rounds[ROUNDS / 2] < Duration::from_millis(30), "{rounds:?}");
}

/// A poll to write, by whichever waker, leaves the waker of the poll to read where it is, and the
/// other way round.
pub async fn writing_does_not_forget_who_waits_to_read(host: &dyn Host) {
    let (mut one, mut two) = streams(host).await;
    let (reader, writer) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let chunk = vec![5; 65_536];
    let mut buf = [0; 10];
    assert!(poll_with(&reader.clone().into(), |cx| one.poll_read(cx, &mut buf)).is_pending());
    let mut written = 0;
    while let Poll::Ready(taken) =
        poll_with(&writer.clone().into(), |cx| one.poll_write_vectored(cx, &[IoSlice::new(&chunk)]))
    {
        written += taken.expect("written");
    }
    write(&mut *two, b"in").await.expect("written");
    reader.reaches(1).await;
    assert_eq!(read(&mut *one, &mut buf).await.expect("read"), 2);
    assert!(poll_with(Waker::noop(), |cx| one.poll_read(cx, &mut buf)).is_pending());
    let drained = read_up_to(&mut *two, written).await.expect("read");
    assert_eq!(drained.len(), written);
    writer.reaches(1).await;
    write(&mut *one, b"more").await.expect("there is room again");
}
