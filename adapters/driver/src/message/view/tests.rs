//! What a peer may send is any bytes at all: nothing here may panic or read past the end, and valid
//! bytes are not copied.

use super::*;
use crate::message::method::Body;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Rich {
    id: u64,
    wide: u128,
    name: String,
    rows: Vec<Row>,
    kind: Kind,
    maybe: Option<Box<u32>>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Row {
    key: String,
    values: Vec<u16>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
enum Kind {
    Empty,
    Named(String),
    Pair { left: u64, right: Option<String> },
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Blob {
    head: char,
    flag: bool,
    body: Vec<u8>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Unit;

/// A chain of boxes: a depth bomb when long.
#[derive(rkyv::Archive, rkyv::Serialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
struct Chain {
    #[rkyv(omit_bounds)]
    next: Option<Box<Chain>>,
}

fn rich(kind: Kind) -> Rich {
    let row = |key: &str| Row { key: key.into(), values: vec![1, 2, 3] };
    Rich {
        id: 7,
        wide: 1 << 100,
        name: "a name that is too long to be inlined".into(),
        rows: vec![row("x"), row("a longer key, out of line")],
        kind,
        maybe: Some(Box::new(9)),
    }
}

fn chain(len: usize) -> Chain {
    (1..len).fold(Chain { next: None }, |chain, _| Chain { next: Some(Box::new(chain)) })
}

/// Reads every byte a valid view leads to.
trait Walk {
    fn walk(&self) -> u64;
}

impl Walk for ArchivedRich {
    fn walk(&self) -> u64 {
        let rows = self.rows.iter().map(|row| {
            sum(row.key.as_bytes())
                + row.values.iter().map(|value| u64::from(value.to_native())).sum::<u64>()
        });
        let kind = match &self.kind {
            ArchivedKind::Empty => 0,
            ArchivedKind::Named(name) => sum(name.as_bytes()),
            ArchivedKind::Pair { left, right } => {
                left.to_native() ^ right.as_ref().map_or(0, |right| sum(right.as_bytes()))
            }
        };
        let maybe = self.maybe.as_ref().map_or(0, |maybe| u64::from(maybe.to_native()));
        rows.fold(sum(self.name.as_bytes()) ^ self.id.to_native() ^ kind ^ maybe, u64::wrapping_add)
            ^ u64::from(self.wide.to_native() != 0)
    }
}

impl Walk for ArchivedBlob {
    fn walk(&self) -> u64 {
        sum(&self.body) + u64::from(self.flag) + u64::from(self.head.to_native() as u32)
    }
}

impl Walk for ArchivedUnit {
    fn walk(&self) -> u64 {
        0
    }
}

impl Walk for ArchivedChain {
    fn walk(&self) -> u64 {
        self.next.as_ref().map_or(1, |next| 1 + next.walk())
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

fn aligned(bytes: &[u8]) -> Bytes {
    aligned_copy::<ALIGN>(&Bytes::copy_from_slice(bytes))
}

fn encoded<T: Payload>(value: &T) -> Vec<u8> {
    value.encode().expect("encodes").to_vec()
}

/// Every truncation at both ends and every bit flip: refused, or valid and readable to the last
/// byte.
fn survives_damage<T: Payload<Archived: Walk>>(value: &T) {
    let good = encoded(value);
    let whole = View::<T>::new(aligned(&good)).expect("valid bytes are accepted").walk();
    let mut refused = 0u32;
    let mut check = |bytes: &[u8]| match View::<T>::new(aligned(bytes)) {
        Ok(view) => {
            view.walk();
        }
        Err(_) => refused += 1,
    };
    for len in 0..good.len() {
        check(&good[..len]);
        check(&good[good.len() - len..]);
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        check(&bad);
    }
    assert!(good.is_empty() || refused > 0, "some damage must be noticed in {} bytes", good.len());
    assert_eq!(View::<T>::new(aligned(&good)).expect("still valid").walk(), whole);
}

#[test]
fn every_truncation_and_every_bit_flip_is_refused_or_harmless() {
    survives_damage(&rich(Kind::Empty));
    survives_damage(&rich(Kind::Named("another name that lies out of line".into())));
    survives_damage(&rich(Kind::Pair {
        left: 3,
        right: Some("right, and out of line too".into()),
    }));
    survives_damage(&Blob { head: 'ß', flag: true, body: vec![7; 200] });
    survives_damage(&chain(20));
    survives_damage(&Unit);
}

#[test]
fn a_view_reads_where_the_bytes_lie() {
    let bytes = Blob { head: 'a', flag: false, body: vec![5; 4096] }.encode().expect("encodes");
    let view = View::<Blob>::new(bytes.clone()).expect("valid");
    assert_eq!(view.bytes().as_ptr(), bytes.as_ptr(), "aligned bytes are not copied");
    let body = view.bytes().slice_ref(&view.body);
    assert_eq!(body.as_ptr(), view.body.as_ptr());
    drop((view, bytes));
    assert_eq!(body, vec![5; 4096], "a slice keeps the buffer alive");
}

#[test]
fn misaligned_bytes_are_copied_to_where_they_can_be_read() {
    let value = rich(Kind::Empty);
    let good = encoded(&value);
    for offset in 0..ALIGN {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(&good);
        let bytes = aligned(&shifted).slice(offset..);
        assert_eq!(bytes.as_ptr().addr() % ALIGN, offset);
        let view = View::<Rich>::new(bytes.clone()).expect("valid at any address");
        assert_eq!(view.wide.to_native(), 1 << 100);
        assert_eq!(
            view.bytes().as_ptr() == bytes.as_ptr(),
            offset == 0,
            "copied only when it must be"
        );
    }
}

#[test]
fn a_chain_within_the_depth_limit_is_read_and_a_longer_one_refused() {
    let depth =
        |len| View::<Chain>::new(chain(len).encode().expect("encodes")).map(|view| view.walk());
    assert_eq!(depth(60).expect("within the limit"), 60);
    assert!(depth(DEPTH_MAX.get() + 2).is_err());
}

/// 100,000 levels of validation do not fit a 256 KiB stack: without the limit this test would abort
/// the process.
#[test]
fn a_depth_bomb_is_refused_on_a_small_stack() {
    // Each archived link is an 8-byte `Option<Box<_>>`: a tag, padding, and a pointer relative to
    // itself. Serialising the real thing would recurse as deeply, so two links are encoded and
    // the pattern is repeated.
    let two = encoded(&chain(2));
    let link = two.len() / 2;
    let outer = two[link..].to_vec();
    let mut bomb = two[..link].to_vec();
    for _ in 0..100_000 {
        bomb.extend_from_slice(&outer);
    }
    assert_eq!(View::<Chain>::new(aligned(&two)).expect("valid").walk(), 2);
    let short: Vec<u8> = [&two[..link], &outer, &outer].concat();
    assert_eq!(View::<Chain>::new(aligned(&short)).expect("the pattern repeats").walk(), 3);
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(256 * 1024);
        let refused = small.spawn_scoped(scope, || View::<Chain>::new(aligned(&bomb)).is_err());
        assert!(refused.expect("spawns").join().expect("no overflow"));
    });
}

#[test]
fn views_are_shared_between_threads() {
    let view = View::<Rich>::new(rich(Kind::Empty).encode().expect("encodes")).expect("valid");
    let expected = view.walk();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let view = view.clone();
            scope.spawn(move || assert_eq!(view.walk(), expected));
        }
    });
}

/// What is said of it travels, and where this process keeps its memory is nobody's business.
#[test]
fn what_is_malformed_is_told_without_addresses() {
    let mut told = 0;
    let bytes = rich(Kind::Empty).encode().expect("bytes");
    for at in 0..bytes.len() {
        let mut broken = bytes.to_vec();
        broken[at] ^= 0xff;
        if let Err(malformed) = View::<Rich>::new(broken.into()) {
            let text = malformed.to_string();
            assert!(
                !text.contains("0x") && !text.contains(|it: char| it.is_ascii_digit()),
                "{text}"
            );
            assert!(std::error::Error::source(&malformed).is_some());
            told += 1;
        }
    }
    assert!(told > 10, "{told}");
}

/// Alignment beyond that of the wire, at the root and where only a pointer leads.
#[derive(rkyv::Archive, rkyv::Serialize)]
#[rkyv(attr(repr(align(64))))]
struct Wide {
    id: u64,
    name: String,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Wides {
    name: String,
    rows: Vec<Wide>,
}

fn wide(id: u64) -> Wide {
    Wide { id, name: "wide".into() }
}

/// What is charged stays so while the copy is read.
#[test]
fn a_copy_keeps_what_it_was_made_of() {
    struct Charged(rkyv::util::AlignedVec<256>, #[expect(dead_code)] Arc<()>);
    impl AsRef<[u8]> for Charged {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let good = encoded(&wide(7));
    let (mut shifted, charge) = (rkyv::util::AlignedVec::new(), Arc::new(()));
    shifted.resize(16, 0);
    shifted.extend_from_slice(&good);
    let bytes = Bytes::from_owner(Charged(shifted, charge.clone())).slice(16..);
    let view = View::<Wide>::new(bytes).expect("valid");
    assert_eq!(Arc::strong_count(&charge), 2);
    drop(view);
    assert_eq!(Arc::strong_count(&charge), 1);
}

#[test]
fn a_type_of_wider_alignment_is_read_wherever_its_bytes_lie() {
    let one = encoded(&wide(7));
    let rows = (0..10).map(wide).collect();
    let many = encoded(&Wides { name: "a name that is stored out of line".into(), rows });
    for shift in 0..256 {
        let bytes = |good: &[u8]| {
            let mut shifted = rkyv::util::AlignedVec::<256>::with_capacity(512 + good.len());
            shifted.resize(shift, 0);
            shifted.extend_from_slice(good);
            Bytes::from_owner(shifted).slice(shift..)
        };
        let view = View::<Wide>::new(bytes(&one)).expect("valid");
        assert_eq!(view.id.to_native(), 7);
        let view = View::<Wides>::new(bytes(&many)).expect("valid");
        let ids: Vec<u64> = view.rows.iter().map(|row| row.id.to_native()).collect();
        assert_eq!(ids, (0..10).collect::<Vec<u64>>(), "at {shift}");
    }
}
