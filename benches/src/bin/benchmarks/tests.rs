use chinwag_benches::table::{Better, Role, Table};

use crate::page::Page;
use crate::plot;

fn table() -> Table {
    let mut table = Table::new("pings", "Pings", "ns", Better::Lower).about("How.").base("chinwag");
    for (group, own, other) in [("10", 20.0, 10.0), ("100", 20.0, 4_000.0)] {
        table.add(Role::Main, "chinwag", group, vec![own, own * 1.5, own]);
        table.add(Role::Peer, "other", group, vec![other, other, other]);
    }
    table
}

fn page(table: &Table) -> String {
    let mut page = Page::new(&[("CPU", "one".into())], 0.0, false);
    page.section("Membership", "membership");
    page.table(table, "benchmarks/pings.svg");
    page.finish()
}

#[test]
fn a_peer_that_is_ahead_is_named_with_where_and_how_far() {
    let text = page(&table());
    assert!(text.contains("**Ahead of chinwag:** other: 10 (0.50×)."), "{text}");
    assert!(text.contains("| other | 10.0 (0.50×) | 4,000 (200×) |"), "{text}");
    assert!(text.contains("| **chinwag** | 20.0 | 20.0 |"), "{text}");
}

#[test]
fn where_higher_is_better_a_peer_is_ahead_with_more() {
    let table = Table { better: Better::Higher, ..table() };
    assert!(page(&table).contains("**Ahead of chinwag:** other: 100 (200×)."));
}

#[test]
fn nobody_ahead_is_said_as_well() {
    let mut table = table();
    table.add(Role::Peer, "other", "10", vec![30.0, 30.0, 30.0]);
    assert!(page(&table).contains("Ahead of chinwag: nobody."));
}

#[test]
fn a_busy_machine_is_told_at_the_head() {
    assert!(Page::new(&[], 1.7, true).finish().contains("**Busy machine.** Its load was 1.70"));
    assert!(!page(&table()).contains("Busy"));
}

#[test]
fn a_plot_has_every_group_and_contender_and_says_that_it_is_logarithmic() {
    let svg = plot::draw(&table()).expect("it has numbers");
    for text in ["Pings", "ns; lower is better, logarithmic", "chinwag", "other", "4,000"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    // Ground, two swatches, four bars.
    assert_eq!(svg.matches("<rect").count(), 7, "{svg}");
}
