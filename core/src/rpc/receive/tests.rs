use super::*;
use crate::rpc::frame::Kind;

fn put(receiver: &mut Receiver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = receiver.buffer();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        bytes = &bytes[len..];
        assert_eq!(receiver.filled(len), len);
    }
}

fn open() -> Receiver {
    let mut receiver = Receiver::new(&Config::default());
    receiver.open();
    receiver
}

/// Reads that fill all of the room, `count` of them, of frames that are thrown away.
fn busy(receiver: &mut Receiver, count: usize) {
    for _ in 0..count {
        let len = receiver.buffer().len();
        receiver.filled(len);
        receiver.skip(len);
    }
}

#[test]
fn the_slab_begins_small_grows_when_reads_fill_it_and_is_given_back() {
    let mut receiver = Receiver::new(&Config::default());
    assert_eq!((receiver.held_len(), receiver.buffer().len()), (0, SLAB_LEN_MIN));
    busy(&mut receiver, 3);
    assert_eq!(receiver.buffer().len(), SLAB_LEN_MIN, "not for a stranger");
    receiver.open();
    for _ in 0..10 {
        let len = receiver.buffer().len() / 2;
        receiver.filled(len);
        receiver.skip(len);
    }
    assert_eq!(receiver.buffer().len(), SLAB_LEN_MIN, "not for small reads");
    busy(&mut receiver, 10);
    assert_eq!(receiver.buffer().len(), Config::default().recv_len);
    receiver.rest();
    assert_eq!(receiver.held_len(), 0);
    assert_eq!(receiver.buffer().len(), SLAB_LEN_MIN);
}

#[test]
fn resting_drops_nothing_that_waits() {
    let mut receiver = open();
    put(&mut receiver, &[7; 40]);
    receiver.rest();
    assert_eq!(receiver.waiting(), &[7; 40]);
}

#[test]
fn a_large_body_lands_in_a_buffer_that_one_before_it_had() {
    let mut receiver = open();
    let header =
        FrameHeader { body_len: 300_001, extension_len: 16, ..FrameHeader::new(Kind::Request, 1) };
    let mut places = alloc::vec::Vec::new();
    for fill in 0..4 {
        put(&mut receiver, &header.encode());
        put(&mut receiver, &[0; 16]);
        let taken = receiver.take(header, Instant::ZERO).expect("an extension");
        assert!(taken.is_none());
        put(&mut receiver, &vec![fill; header.body_padded()]);
        let frame = receiver.finished().expect("whole");
        assert!(frame.body.len() == 300_001 && frame.body.iter().all(|&byte| byte == fill));
        assert!(frame.body.as_ptr().addr().is_multiple_of(16));
        places.push(frame.body.as_ptr());
    }
    assert!(places[1..].windows(2).all(|two| two[0] == two[1]), "{places:?}");
}

/// What comes behind a large body is read with it, and is what comes next.
#[test]
fn a_read_of_a_large_body_that_goes_over_loses_nothing() {
    for over in [0, 1, 31, 32, OVER_LEN] {
        let mut receiver = open();
        let header = FrameHeader {
            body_len: 100_000,
            extension_len: 16,
            ..FrameHeader::new(Kind::Request, 1)
        };
        put(&mut receiver, &header.encode());
        put(&mut receiver, &[0; 16]);
        assert!(receiver.take(header, Instant::ZERO).expect("an extension").is_none());
        let mut bytes = vec![5; header.body_padded()];
        bytes.extend((0..over).map(|at| u8::try_from(at).expect("few")));
        let mut rest = &bytes[..];
        let mut reads = 0;
        while !rest.is_empty() {
            let room = receiver.buffer();
            let len = room.len().min(rest.len());
            assert!(
                rest.len() > room.len() || room.len() - rest.len() <= OVER_LEN,
                "a little more than is missing"
            );
            room[..len].copy_from_slice(&rest[..len]);
            receiver.filled(len);
            rest = &rest[len..];
            reads += 1;
        }
        assert!(reads <= 2, "one more for the buffer to grow");
        let frame = receiver.finished().expect("whole");
        assert!(frame.body.len() == 100_000 && frame.body.iter().all(|&byte| byte == 5));
        assert_eq!(receiver.waiting(), &bytes[header.body_padded()..]);
    }
}
