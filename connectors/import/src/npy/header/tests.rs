use super::*;
use proptest::prelude::*;

fn fields(header: &str) -> Vec<(String, ArrayView)> {
    let mut fields = Vec::new();
    let header = NpyHeader::parse(header, 128).unwrap();
    header.fields("a", 0, &mut fields).unwrap();
    fields
}

#[test]
fn an_array_in_either_order_is_a_view() {
    let [(name, array)] =
        &fields("{'descr': '>f8', 'fortran_order': False, 'shape': (7, 5), }  \n")[..]
    else {
        panic!("one array");
    };
    assert_eq!((name.as_str(), &array.strides[..]), ("a", &[40, 8][..]));
    assert!(array.dtype.big_endian);
    let fortran = &fields("{'descr': '<f4', 'fortran_order': True, 'shape': (7, 5)}")[0].1;
    assert_eq!(fortran.strides, [4, 28]);
}

#[test]
fn fields_of_records_become_arrays_with_gaps() {
    let header = "{'descr': [('id', '<i8'), ('', '|V4'), ('mag', '<f4', (5,)), ('name', '<U3'), \
                  ('pos', [('ra', '<f8'), ('dec', '<f8')])], 'fortran_order': False, 'shape': (3,)}";
    let found: Vec<_> = fields(header)
        .into_iter()
        .map(|(name, array)| (name, array.within, array.shape, array.strides))
        .collect();
    let expected = [
        ("a.id", 0, vec![3], vec![60]),
        ("a.mag", 12, vec![3, 5], vec![60, 4]),
        ("a.name", 32, vec![3], vec![60]),
        ("a.pos.ra", 44, vec![3], vec![60]),
        ("a.pos.dec", 52, vec![3], vec![60]),
    ];
    let expected = expected.map(|(name, at, shape, strides)| (name.to_owned(), at, shape, strides));
    assert_eq!(found, expected);
}

#[test]
fn arrays_of_python_objects_are_recognized() {
    let descr = ["'|O'", "[('id', '<i8'), ('pos', [('ra', '|O')])]"];
    for (descr, known) in descr
        .map(|descr| (descr, true))
        .into_iter()
        .chain([("'<f4'", false)])
    {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3,)}}");
        let header = NpyHeader::parse(&header, 0).unwrap();
        assert_eq!(header.element.has_objects(), known, "{descr}");
    }
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(
        changes in proptest::collection::vec((0usize..90, any::<char>()), 0..8),
        len in 0usize..100,
    ) {
        let header = "{'descr': [('id', '<i8'), ('m', '<f4', (5,))], 'fortran_order': False, 'shape': (3, 4)}";
        let mut text: Vec<char> = header.chars().collect();
        changes.iter().filter(|(at, _)| *at < header.len()).for_each(|&(at, to)| text[at] = to);
        let text: String = text.into_iter().take(len).collect();
        if let Ok(header) = NpyHeader::parse(&text, 128) {
            let _ = header.fields("a", 0, &mut Vec::new());
        }
    }
}
