use super::machine::STEPS_MAX;
use super::*;
use proptest::prelude::*;

/// `pickle.dumps({"a": (1, 2.5), "b": [None, True, -3, "x"]}, protocol=2)`, without the numbers of its memo.
const PLAIN: &[u8] =
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01G\x40\x04\x00\x00\x00\x00\x00\x00\x86q\x01X\x01\x00\x00\x00b]q\x02(N\x88J\xfd\xff\xff\xffX\x01\x00\x00\x00xeu.";

#[test]
fn plain_values_are_read() {
    let pickle = Pickle::parse(PLAIN).unwrap();
    let a = pickle.get(pickle.root(), "a").unwrap();
    let [one, float] = pickle.sequence(a).unwrap() else {
        panic!("a pair");
    };
    assert_eq!(pickle.int(*one), Some(1));
    assert_eq!(pickle.node(*float), &Node::Float(2.5));
    let b = pickle.get(pickle.root(), "b").unwrap();
    let b: Vec<_> = pickle
        .sequence(b)
        .unwrap()
        .iter()
        .map(|&id| pickle.node(id))
        .collect();
    assert_eq!(
        b,
        [
            &Node::None,
            &Node::Bool(true),
            &Node::Int(-3),
            &Node::Text("x".into())
        ]
    );
}

#[test]
fn a_call_is_recorded_and_not_made() {
    let pickle = Pickle::parse(b"cos\nsystem\nX\x04\x00\x00\x00exit\x85R.").unwrap();
    let (name, object) = pickle.object(pickle.root()).unwrap();
    assert!(name.is("os.system") && !name.is("os.systems") && !name.is("s.system"));
    assert_eq!(name.to_string(), "os.system");
    assert_eq!(pickle.sequence(object.args).map(<[Id]>::len), Some(1));
}

/// Regression: the text of a class name was copied for each use, so two kilobytes took gigabytes.
#[test]
fn an_object_that_is_named_often_is_held_once() {
    let mut bytes = b"\x80\x04(\x8c\x09some name\x94".to_vec();
    (0..1000).for_each(|_| bytes.extend(b"h\x00h\x00\x93"));
    let pickle = Pickle::parse(&[&bytes[..], b"l"].concat());
    assert!(pickle.is_err(), "protocol 0's list is not read");
    let pickle = Pickle::parse(&[&bytes[..], b"t."].concat()).unwrap();
    assert_eq!(pickle.globals().count(), 1000);
    let texts = pickle
        .nodes
        .iter()
        .filter(|node| matches!(node, Node::Text(_)));
    assert_eq!(texts.count(), 1);
    assert!(size_of::<Node>() <= 32);
    let long = [
        &b"\x8d\x00\x10\x00\x00\x00\x00\x00\x00"[..],
        &[b'a'; 4096],
        b"2\x93.",
    ];
    assert!(
        Pickle::parse(&long.concat())
            .unwrap_err()
            .contains("too long")
    );
}

/// Regression: each byte made a node of 88 bytes, so 58 kB that inflate to 64 MB took 5.2 GB.
#[test]
fn a_pickle_with_too_many_opcodes_is_refused() {
    let bytes = vec![b']'; STEPS_MAX + 1];
    assert!(Pickle::parse(&bytes).unwrap_err().contains("opcodes"));
}

#[test]
fn an_object_may_hold_itself() {
    let pickle = Pickle::parse(b"]q\x00h\x00a.").unwrap();
    assert_eq!(pickle.sequence(pickle.root()), Some(&[pickle.root()][..]));
}

#[test]
fn a_pickle_that_is_cut_short_is_refused() {
    for len in 0..PLAIN.len() {
        assert!(
            Pickle::parse(&PLAIN[..len]).is_err(),
            "the first {len} bytes"
        );
    }
}

proptest! {
    #[test]
    fn whole_numbers_of_any_length_are_read(number in any::<i64>(), len in 1usize..=8) {
        let number = number >> (64 - 8 * len);
        let mut bytes = vec![0x8a, len as u8];
        bytes.extend(&number.to_le_bytes()[..len]);
        bytes.push(b'.');
        let pickle = Pickle::parse(&bytes).unwrap();
        prop_assert_eq!(pickle.int(pickle.root()), Some(number));
    }

    #[test]
    fn garbage_is_refused_or_read_and_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = Pickle::parse(&bytes);
    }

    #[test]
    fn opcodes_in_any_order_never_panic(
        picks in proptest::collection::vec((0..PLAIN.len(), any::<u8>()), 1..20)
    ) {
        let mut bytes = PLAIN.to_vec();
        picks.iter().for_each(|&(at, byte)| bytes[at] = byte);
        if let Ok(pickle) = Pickle::parse(&bytes) {
            let _ = (pickle.entries(pickle.root()), pickle.get(pickle.root(), "a"));
        }
    }
}
