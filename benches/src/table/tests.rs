use super::*;

fn table() -> Table {
    let mut table = Table::new("t", "T", "ns", Better::Lower).base("chinwag");
    table.add(Role::Main, "chinwag", "10", vec![10.0, 20.0, 40.0]);
    table.add(Role::Peer, "peer", "10", vec![5.0, 20.0, 10.0]);
    table.add(Role::Peer, "peer", "100", vec![3.0]);
    table
}

#[test]
fn a_ratio_is_the_median_of_the_rounds_ratios() {
    let table = table();
    assert_eq!(table.median(1, 0), Some(10.0));
    assert_eq!(table.ratio(1, 0), Some(0.5));
    assert_eq!(table.ratio(0, 0), Some(1.0));
    assert_eq!(table.main(), Some(0));
}

#[test]
fn what_was_not_measured_has_no_number() {
    let table = table();
    assert_eq!((table.median(0, 1), table.ratio(1, 1)), (None, None));
    assert_eq!(table.median(1, 1), Some(3.0));
    assert_eq!(median(Vec::new()), None);
}

#[test]
fn rounds_of_other_counts_are_compared_by_their_medians() {
    let mut table = table();
    table.add(Role::Peer, "once", "10", vec![30.0]);
    assert_eq!(table.ratio(2, 0), Some(1.5));
}

#[test]
fn figures_have_three_digits_that_count() {
    let cases =
        [(0.0123, "0.012"), (1.234, "1.23"), (9.999, "10.0"), (12.34, "12.3"), (999.4, "999")];
    for (value, text) in cases.into_iter().chain([(1_234.0, "1,234"), (12_345_678.0, "12,345,678")])
    {
        assert_eq!(figure(value), text);
    }
}

#[test]
fn tables_are_read_as_they_were_written() {
    let path = std::env::temp_dir().join(format!("chinwag-tables-{}.json", std::process::id()));
    Tables { tables: vec![table()] }.write(&path).expect("a folder for what is temporary");
    let read = Tables::read(&path);
    fs::remove_file(&path).expect("it was written");
    let read = read.expect("it was written");
    assert_eq!(read.tables[0].ratio(1, 0), Some(0.5));
}
